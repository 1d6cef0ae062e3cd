"""Gradients that are zero almost everywhere, computed only where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WORTH_IT = 0.8
"""Above this share of a map inside the box, cutting it out gains nothing."""

Box = tuple[int, int, int, int]
"""First and last row, first and last column."""


class SparseGradients(TorchDispatchMode):
    """Inside the block, gradients flow back through convolutions from the box that holds all that is not zero.

    The gradient of one pixel of a map covers its receptive field and nothing else: a few pixels at fine maps next to
    it. The values are those of PyTorch's own backward pass, up to the order of sums.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Replace the gradient of two-dimensional convolutions with respect to their input."""
        if func is torch.ops.aten.convolution_backward.default and _is_ours(args):
            if (box := nonzero_box(args[0])) is None:
                return torch.zeros_like(args[1]), None, None
            if _share(box, args[0]) < WORTH_IT:
                return input_gradient(box, *args[:10]), None, None
        return func(*args, **(kwargs or {}))


def _is_ours(args: tuple[Any, ...]) -> bool:
    gradient, output_mask = args[0], args[10]
    return gradient.ndim == 4 and list(output_mask) == [True, False, False]


def nonzero_box(gradient: Tensor) -> Box | None:
    """The smallest box of rows and columns outside which a (B, C, H, W) tensor is zero; None if it is zero."""
    maps = gradient.flatten(0, 1)
    somewhere = (maps.amax(dim=0) != 0) | (maps.amin(dim=0) != 0)  # reads the maps, and makes no copy of them
    rows, columns = somewhere.any(dim=1).nonzero(), somewhere.any(dim=0).nonzero()
    if not len(rows):
        return None
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def _share(box: Box, gradient: Tensor) -> float:
    top, bottom, left, right = box
    return (bottom - top + 1) * (right - left + 1) / (gradient.shape[-2] * gradient.shape[-1])


def input_gradient(
    box: Box,
    gradient: Tensor,
    source: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """The gradient of a convolution with respect to its input, from the box of its output's gradient.

    A convolution's is a transposed convolution of the box, laid where the box came from; a transposed convolution's is
    a convolution of the box, with as much zero around it as its kernel reaches.

    Args:
        box: outside it ``gradient`` is zero.
        gradient: with respect to the output, (B, C_out, H', W').
        source: the input, (B, C_in, H, W); the other arguments are ``aten::convolution_backward``'s.
    """
    top, bottom, left, right = box
    size = source.shape[-2:]
    reach = [(weight.shape[2 + axis] - 1) * dilation[axis] for axis in (0, 1)]
    spans = [(top, bottom), (left, right)]
    if not transposed:
        cut = gradient[..., top : bottom + 1, left : right + 1]
        found = F.conv_transpose2d(cut, weight, stride=tuple(stride), dilation=tuple(dilation), groups=groups)
        return _lay(found, [span[0] * s - p for span, s, p in zip(spans, stride, padding, strict=True)], size)
    first = [-((r - p - span[0]) // s) for span, s, p, r in zip(spans, stride, padding, reach, strict=True)]
    last = [(span[1] + p) // s for span, s, p in zip(spans, stride, padding, strict=True)]
    starts = [f * s - p for f, s, p in zip(first, stride, padding, strict=True)]
    sides = [(b - a) * s + r + 1 for a, b, s, r in zip(first, last, stride, reach, strict=True)]
    cut = _lay(gradient, [-start for start in starts], sides)
    return _lay(F.conv2d(cut, weight, stride=tuple(stride), dilation=tuple(dilation), groups=groups), first, size)


def _lay(maps: Tensor, offset: Sequence[int], size: Sequence[int]) -> Tensor:
    """Maps laid into zeros of a size, their corner at an offset; what sticks out is cut off."""
    (top, left), (height, width) = offset, size
    return F.pad(maps, (left, width - left - maps.shape[-1], top, height - top - maps.shape[-2]))
