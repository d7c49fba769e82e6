"""Images on servers."""
