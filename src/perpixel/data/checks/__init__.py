"""Checks across splits: leaks and shared files."""
