"""Losses: logits (B, C, H, W) and labels (B, H, W) in, one differentiable number out."""

from perpixel.losses.base import Loss
from perpixel.losses.boundary import Boundary, BoundaryCrossEntropy
from perpixel.losses.cross_entropy import CrossEntropy
from perpixel.losses.dice import Dice
from perpixel.losses.focal import Focal
from perpixel.losses.jaccard import Jaccard
from perpixel.losses.lovasz import Lovasz
from perpixel.losses.ohem import OHEM
from perpixel.losses.sum import Sum
from perpixel.losses.tversky import FocalTversky, Tversky

__all__ = [
    "OHEM",
    "Boundary",
    "BoundaryCrossEntropy",
    "CrossEntropy",
    "Dice",
    "Focal",
    "FocalTversky",
    "Jaccard",
    "Loss",
    "Lovasz",
    "Sum",
    "Tversky",
]
