"""The adapters, each with the program that it is for."""
