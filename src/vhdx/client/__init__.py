"""An NBD server as a place for bytes."""
