"""Files that make other programs use this library."""
