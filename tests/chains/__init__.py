"""Differencing images: writing through chains, making children, rebasing, telling what changed."""
