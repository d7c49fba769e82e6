"""Hostile and damaged files: right data or one clear error, nothing else (promise 17)."""
