"""Which part of the image an output pixel can see at all: the theoretical receptive field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, inf
from typing import Any

from torch import Tensor

from perpixel.analysis.shapes.graph import Operation

Span = tuple[float, float]
"""First and last index along one axis; infinite where an operation looks at everything."""

Rule = Callable[[Operation, Tensor, int, Span], Span]
"""(operation, one of its inputs, axis 0 or 1, span of outputs) → span of that input's entries they come from."""

EVERYWHERE: Span = (-inf, inf)


def receptive_field(operations: Sequence[Operation], output: Tensor, image: Tensor) -> tuple[float, float]:
    """Height and width of the region of the image that the centre of ``output`` depends on, in pixels.

    Walks the operations backwards, as Araujo et al. 2019 ("Computing receptive fields of convolutional neural
    networks") do for layers, but exactly for one output pixel: spans of indices are followed through every operation.
    Borders do not clip them. Attention and pooling over all positions (squeeze-and-excitation, too) see everything:
    infinite. Normalisation statistics are not counted. DySample is taken at its initial sampling points.

    Args:
        operations: executed up to ``output``, in order.
        output: (B, C, h, w).
        image: the network's input.
    """
    height, width = output.shape[-2:]
    needed: dict[int, tuple[Span, Span]] = {id(output): (_point(height // 2), _point(width // 2))}
    for operation in reversed(operations):
        spans = [needed[id(each)] for each in operation.outputs if id(each) in needed]
        if spans:
            region = _joined(spans)
            for each in operation.inputs:
                rule = RULES.get(operation.name, _same)
                seen = tuple(rule(operation, each, axis, region[axis]) for axis in (0, 1))
                needed[id(each)] = _joined([needed[id(each)], seen] if id(each) in needed else [seen])
    rows, columns = needed[id(image)]
    return rows[1] - rows[0] + 1, columns[1] - columns[0] + 1


def _point(index: int) -> Span:
    return float(index), float(index)


def _joined(regions: Sequence[Any]) -> tuple[Span, Span]:
    low = [min(region[axis][0] for region in regions) for axis in (0, 1)]
    high = [max(region[axis][1] for region in regions) for axis in (0, 1)]
    return (low[0], high[0]), (low[1], high[1])


def _same(operation: Operation, source: Tensor, axis: int, span: Span) -> Span:
    """Operations that work on each position alone, whatever the layout."""
    return span


def _everywhere(operation: Operation, source: Tensor, axis: int, span: Span) -> Span:
    return EVERYWHERE


def _convolution(operation: Operation, source: Tensor, axis: int, span: Span) -> Span:
    _, weight, _, stride, padding, dilation, transposed, *_ = operation.arguments
    reach = (weight.shape[2 + axis] - 1) * dilation[axis]
    step, pad = stride[axis], padding[axis]
    if transposed:
        return _ceil((span[0] + pad - reach) / step), _floor((span[1] + pad) / step)
    return span[0] * step - pad, span[1] * step - pad + reach


def _pooling(operation: Operation, source: Tensor, axis: int, span: Span) -> Span:
    kernel, stride, padding = (_pair(operation.arguments, index) for index in (1, 2, 3))
    step = (stride or kernel)[axis]
    pad = padding[axis] if padding else 0
    return span[0] * step - pad, span[1] * step - pad + kernel[axis] - 1


def _pair(arguments: Sequence[Any], index: int) -> Sequence[int]:
    value = arguments[index] if len(arguments) > index else []
    return [value, value] if isinstance(value, int) else value * 2 if len(value) == 1 else value


def _nearest(operation: Operation, source: Tensor, axis: int, span: Span) -> Span:
    scale = operation.outputs[0].shape[2 + axis] / source.shape[2 + axis]
    return _floor(span[0] / scale), _floor(span[1] / scale)


def _bilinear(operation: Operation, source: Tensor, axis: int, span: Span) -> Span:
    """The two neighbours on pixel areas (``align_corners=False``)."""
    scale = operation.outputs[0].shape[2 + axis] / source.shape[2 + axis]
    return _floor((span[0] + 0.5) / scale - 0.5), _floor((span[1] + 0.5) / scale - 0.5) + 1


def _sampled(operation: Operation, source: Tensor, axis: int, span: Span) -> Span:
    """Of ``grid_sample``'s inputs the map is sampled, and the grid has the output's positions.

    Where these are no upsampled map's (deformable attention), the points may lie anywhere.
    """
    sampled, output = operation.arguments[0], operation.outputs[0]
    if any(output.shape[2 + each] != 2 * sampled.shape[2 + each] for each in (0, 1)):
        return EVERYWHERE
    return _bilinear(operation, source, axis, span) if source is sampled else span


def _padding(operation: Operation, source: Tensor, axis: int, span: Span) -> Span:
    """(left, right, top, bottom) entries were added."""
    pads = operation.arguments[1]
    before = pads[2 * (1 - axis)] if len(pads) > 2 * (1 - axis) else 0
    return span[0] - before, span[1] - before


def _product(operation: Operation, source: Tensor, axis: int, span: Span) -> Span:
    """A product with weights works on each position; of two activations (attention) it mixes all."""
    return EVERYWHERE if len(operation.inputs) > 1 else span


def _mean(operation: Operation, source: Tensor, axis: int, span: Span) -> Span:
    """Over positions, unless it is over the channels of (B, C, H, W)."""
    over = operation.arguments[1] if len(operation.arguments) > 1 else None
    return span if over in ([1], [-3]) and source.ndim == 4 else EVERYWHERE


def _floor(value: float) -> float:
    return value if abs(value) == inf else float(floor(value))


def _ceil(value: float) -> float:
    return value if abs(value) == inf else float(ceil(value))


RULES: Mapping[str, Rule] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pooling,
    "avg_pool2d": _pooling,
    "upsample_nearest2d": _nearest,
    "pixel_shuffle": _nearest,
    "upsample_bilinear2d": _bilinear,
    "grid_sampler_2d": _sampled,
    "constant_pad_nd": _padding,
    "replication_pad2d": _padding,
    "reflection_pad2d": _padding,
    "mean": _mean,
    "_adaptive_avg_pool2d": _everywhere,
    "adaptive_max_pool2d": _everywhere,
    "bmm": _product,
    "baddbmm": _product,
    "_softmax": _same,
    "_scaled_dot_product_flash_attention_for_cpu": _everywhere,
    "_scaled_dot_product_flash_attention": _everywhere,
    "_scaled_dot_product_efficient_attention": _everywhere,
    "_scaled_dot_product_attention_math_for_mps": _everywhere,
}
