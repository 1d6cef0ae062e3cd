"""File formats: bytes to arrays and back, each format in one module."""
