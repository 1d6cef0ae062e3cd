"""Prediction on images of any size: sliding window, test-time augmentation, refinement; pure functions."""

from perpixel.inference.sliding_window import SlidingWindow, sliding_window

__all__ = ["SlidingWindow", "sliding_window"]
