"""The audit: what is in the data, what is wrong with it, and whether the pipeline keeps image and mask aligned."""

from perpixel.data.audit.page import write_audit

__all__ = ["write_audit"]
