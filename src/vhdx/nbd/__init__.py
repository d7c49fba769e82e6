"""A virtual disk over the network block device protocol. Knows nothing of VHDX."""
