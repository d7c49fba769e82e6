"""Tests of `vhdx.storage`."""
