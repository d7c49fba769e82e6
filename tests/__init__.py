"""Tests of vhdx; see docs/layout.md for what stands where."""
