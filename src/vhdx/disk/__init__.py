"""A virtual disk: a chain of images or a flat file, seen as one run of bytes."""
