"""Tests of `vhdx.reshape`."""
