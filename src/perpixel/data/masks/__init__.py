"""Stored mask values to class indices: readers, palettes, label policies."""
