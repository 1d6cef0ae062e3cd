"""The softmax of every class at every pixel, for losses that sums over classes do not suffice."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from perpixel.losses.passes import clear_spoilt


def probabilities(logits: Tensor, normaliser: Tensor) -> Tensor:
    """The softmax of the logits, made from a normaliser that is known already.

    Args:
        logits: (B, C, H, W) floating.
        normaliser: (B, H, W) float32 or float64, log Σ_c exp(logit_c); ±∞ where all probabilities shall be 0, −∞ if the
            logits there have no softmax.

    Returns:
        (B, C, H, W) in the normaliser's precision, differentiable once (with respect to the logits).
    """
    values: Tensor = _Probabilities.apply(logits, normaliser)
    return values


class _Probabilities(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, logits: Tensor, normaliser: Tensor) -> Tensor:
        probs = torch.sub(logits, normaliser.unsqueeze(1)).exp_()
        clear_spoilt(probs, normaliser.unsqueeze(1))
        ctx.save_for_backward(probs)
        ctx.dtype = logits.dtype  # type: ignore[attr-defined]
        return probs

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        """p·(g − Σ_c p_c·g_c)."""
        (probs,) = ctx.saved_tensors  # type: ignore[attr-defined]
        slope = probs * gradient
        slope.addcmul_(probs, slope.sum(1, keepdim=True), value=-1)
        return slope.to(ctx.dtype), None  # type: ignore[attr-defined]
