"""Promises 4 to 11 and 14: what a power loss at any instant leaves, and what the order of flushes costs."""
