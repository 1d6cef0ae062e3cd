"""Ways to double a feature map's resolution, one per file; ``decoder=`` chooses among them."""

from perpixel.models.upsampling.base import Upsampler, Upsampling
from perpixel.models.upsampling.dysample import DySample, DySample2x
from perpixel.models.upsampling.interpolation import Bilinear, Interpolate2x, Nearest
from perpixel.models.upsampling.pixelshuffle import PixelShuffle, PixelShuffle2x, icnr_
from perpixel.models.upsampling.transposed import Transposed, Transposed2x, bilinear_

__all__ = [
    "Bilinear",
    "DySample",
    "DySample2x",
    "Interpolate2x",
    "Nearest",
    "PixelShuffle",
    "PixelShuffle2x",
    "Transposed",
    "Transposed2x",
    "Upsampler",
    "Upsampling",
    "bilinear_",
    "icnr_",
]
