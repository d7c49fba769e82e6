"""Tests of `vhdx.write`, on whole images."""
