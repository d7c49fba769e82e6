"""The log of a VHDX file: finding what is active in it and putting it into effect."""
