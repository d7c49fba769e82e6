"""Tests of `vhdx.journal`."""
