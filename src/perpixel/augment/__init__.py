"""Augmentation: recipes that keep image and mask aligned, random as a pure function of a sample's key."""

from perpixel.augment.default import Default
from perpixel.augment.light import Light
from perpixel.augment.plain import Plain
from perpixel.augment.recipe import Recipe
from perpixel.augment.strong import Strong

__all__ = ["Default", "Light", "Plain", "Recipe", "Strong"]
