"""Agreement with the programs of others."""
