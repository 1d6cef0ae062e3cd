"""The user's own images and masks: pairing, encodings, splits."""
