"""A disk as a file in a directory, by FUSE. Knows a `VirtualDisk` and nothing of VHDX."""
