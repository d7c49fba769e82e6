"""Tests of `vhdx.ops.make`."""
