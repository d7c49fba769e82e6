"""Checking and mending."""
