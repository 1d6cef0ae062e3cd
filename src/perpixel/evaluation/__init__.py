"""Evaluation of trained models beyond the scores of a run: robustness, speed, calibration."""
