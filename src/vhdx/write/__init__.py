"""Changing what the disk of one VHDX file holds, through its journal."""
