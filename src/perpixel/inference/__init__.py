"""Prediction on images of any size: sliding window, test-time augmentation, refinement; pure functions."""
