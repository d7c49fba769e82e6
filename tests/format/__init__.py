"""Tests of `vhdx.format`."""
