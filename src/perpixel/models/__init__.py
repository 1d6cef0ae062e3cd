"""Encoders, decoders, upsampling, and the models assembled from them."""

from perpixel.models.base import SegmentationModel
from perpixel.models.deeplabv3plus import DeepLabV3Plus
from perpixel.models.encoder import Encoder, NoEncoder
from perpixel.models.fpn import FPN
from perpixel.models.segformer import Segformer
from perpixel.models.starter_unet import StarterUnet
from perpixel.models.unet import Unet
from perpixel.models.upsampling import Bilinear, Nearest, PixelShuffle, Transposed, Upsampler, Upsampling

__all__ = [
    "FPN",
    "Bilinear",
    "DeepLabV3Plus",
    "Encoder",
    "Nearest",
    "NoEncoder",
    "PixelShuffle",
    "Segformer",
    "SegmentationModel",
    "StarterUnet",
    "Transposed",
    "Unet",
    "Upsampler",
    "Upsampling",
]
