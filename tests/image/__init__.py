"""Tests of `vhdx.image`."""
