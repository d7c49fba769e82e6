"""Partition tables: MBR and GPT, bytes to values and back. Knows no image and does no input or output."""
