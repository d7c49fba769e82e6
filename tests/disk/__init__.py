"""Tests of `vhdx.disk`."""
