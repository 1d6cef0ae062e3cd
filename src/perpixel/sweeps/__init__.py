"""Sweeps: which jobs there are, which of them are done, and who runs the others."""
