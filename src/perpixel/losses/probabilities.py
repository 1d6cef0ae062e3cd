"""The softmax of every class at every pixel, for losses that sums over classes do not suffice."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from perpixel.losses.softmax_kernels import clear


def probabilities(logits: Tensor, peak: Tensor, mass: Tensor, valid: Tensor) -> Tensor:
    """The softmax of the logits, made from what is known of them already.

    Args:
        logits: (B, C, H, W) floating.
        peak: (B, H, W) float32 or float64, the largest logit.
        mass: (B, H, W), Σ_c exp(logit_c − peak).
        valid: (B, H, W) bool; elsewhere all probabilities shall be 0, whatever the logits are.

    Returns:
        (B, C, H, W) in the peak's precision, differentiable once (with respect to the logits).
    """
    values: Tensor = _Probabilities.apply(logits, peak, mass, valid)
    return values


class _Probabilities(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, logits: Tensor, peak: Tensor, mass: Tensor, valid: Tensor) -> Tensor:
        flat = torch.sub(logits.flatten(2), peak.flatten(1).unsqueeze(1)).exp_().div_(mass.flatten(1).unsqueeze(1))
        for image, ignored in zip(flat, ~valid.flatten(1), strict=True):
            clear(image, ignored)
        probs = flat.view(logits.shape)
        ctx.save_for_backward(probs)
        ctx.dtype = logits.dtype  # type: ignore[attr-defined]
        return probs

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """p·(g − Σ_c p_c·g_c)."""
        (probs,) = ctx.saved_tensors  # type: ignore[attr-defined]
        slope = probs * gradient
        slope.addcmul_(probs, slope.sum(1, keepdim=True), value=-1)
        return slope.to(ctx.dtype), None, None, None  # type: ignore[attr-defined]
