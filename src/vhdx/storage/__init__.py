"""Bytes at rest: files, file objects, memory and overlays. Knows nothing of VHDX."""
