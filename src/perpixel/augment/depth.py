"""Depths of images."""

from __future__ import annotations

FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
"""The value that counts as 1, by the name of an image's dtype."""
