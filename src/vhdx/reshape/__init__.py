"""Another shape of one VHDX file, with the same contents: size, place, type."""
