"""Data that come with packages."""
