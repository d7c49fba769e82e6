"""One VHDX file: its headers, regions, metadata, block table and bitmaps."""
