"""File systems of guests, read from outside: what they are, and which of their bytes are certainly free."""
