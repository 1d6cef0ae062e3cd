"""Augmentation: recipes that keep image and mask aligned, random as a pure function of a sample's key."""

from perpixel.augment.copy_paste import CopyPaste
from perpixel.augment.cutmix import CutMix
from perpixel.augment.default import Default
from perpixel.augment.light import Light
from perpixel.augment.medical import Medical
from perpixel.augment.mixing import Mixing
from perpixel.augment.mosaic import Mosaic
from perpixel.augment.plain import Plain
from perpixel.augment.recipe import Recipe
from perpixel.augment.satellite import Satellite
from perpixel.augment.strong import Strong

__all__ = [
    "CopyPaste",
    "CutMix",
    "Default",
    "Light",
    "Medical",
    "Mixing",
    "Mosaic",
    "Plain",
    "Recipe",
    "Satellite",
    "Strong",
]
