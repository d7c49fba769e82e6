"""A new VHDX file, front to back."""
