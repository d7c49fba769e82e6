"""What bytes mean: one file for each structure of the format. No input or output, no numpy."""
