"""Samples that are pairs of files: found, inspected, read, cached."""
