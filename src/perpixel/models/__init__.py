"""Encoders, decoders, upsampling, and the models assembled from them."""

from perpixel.models.base import SegmentationModel, SegmentationOutput
from perpixel.models.deeplabv3 import DeepLabV3
from perpixel.models.deeplabv3plus import DeepLabV3Plus
from perpixel.models.dpt import DPT
from perpixel.models.encoder import Encoder, NoEncoder
from perpixel.models.eomt import EoMT
from perpixel.models.fcn import FCN
from perpixel.models.fpn import FPN
from perpixel.models.linear import Linear
from perpixel.models.linknet import Linknet
from perpixel.models.lraspp import LRASPP
from perpixel.models.manet import MANet
from perpixel.models.mask2former import Mask2Former
from perpixel.models.pan import PAN
from perpixel.models.pspnet import PSPNet
from perpixel.models.segformer import Segformer
from perpixel.models.set_loss import SetLoss
from perpixel.models.starter_unet import StarterUnet
from perpixel.models.transfer import Transfer, transfer
from perpixel.models.unet import Unet
from perpixel.models.unetplusplus import UnetPlusPlus
from perpixel.models.upernet import UPerNet
from perpixel.models.upsampling import Bilinear, DySample, Nearest, PixelShuffle, Transposed, Upsampler, Upsampling

__all__ = [
    "DPT",
    "FCN",
    "FPN",
    "LRASPP",
    "PAN",
    "Bilinear",
    "DeepLabV3",
    "DeepLabV3Plus",
    "DySample",
    "Encoder",
    "EoMT",
    "Linear",
    "Linknet",
    "MANet",
    "Mask2Former",
    "Nearest",
    "NoEncoder",
    "PSPNet",
    "PixelShuffle",
    "Segformer",
    "SegmentationModel",
    "SegmentationOutput",
    "SetLoss",
    "StarterUnet",
    "Transfer",
    "Transposed",
    "UPerNet",
    "Unet",
    "UnetPlusPlus",
    "Upsampler",
    "Upsampling",
    "transfer",
]
