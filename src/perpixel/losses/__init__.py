"""Losses: logits (B, C, H, W) and labels (B, H, W) in, one differentiable number out."""

from perpixel.losses.base import Loss
from perpixel.losses.cross_entropy import CrossEntropy
from perpixel.losses.dice import Dice
from perpixel.losses.focal import Focal
from perpixel.losses.lovasz import Lovasz
from perpixel.losses.sum import Sum

__all__ = ["CrossEntropy", "Dice", "Focal", "Loss", "Lovasz", "Sum"]
