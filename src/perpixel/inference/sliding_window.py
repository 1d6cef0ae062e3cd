"""Maps of images of any size from windows that overlap, blended without seams, in bands of rows.

Windows lie on a grid and their weights are products of a row's and a column's weight, so the weights of all windows are
scaled once, along each axis, to sum to 1 at every pixel. A band of rows is final as soon as no later window reaches it:
it is handed out, and the memory that is needed depends on the image's width and the window, never on its height.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Model = Callable[[Tensor], Tensor]
Blend = Literal["gaussian", "hann", "uniform"]
BLENDS = ("gaussian", "hann", "uniform")

SIGMA = 1 / 8
"""Of the Gaussian, as a share of the window's side (Isensee et al. 2021, nnU-Net)."""

LEAST = 1e-3
"""Of a Gaussian's weight, as a share of its greatest: at the image's border a window's edge is all there is."""


@dataclass(frozen=True)
class SlidingWindow:
    """How windows lie over an image and what each counts.

    Args:
        size: (H, W) of a window, pixels; an image that is smaller in one direction has windows as large as it is.
        overlap: share of a window that the next one covers again, 0…1 without 1. With 0 windows meet like tiles, and
            the last of a row or column is as large as what is left; else it is shifted back into the image.
        blend: what a window's pixels count: ``gaussian`` (sigma an eighth of its side) or ``hann``, both most in the
            middle, or ``uniform``.
        batch_size: windows that the network sees at once.

    Raises:
        ValueError: an argument is out of its range.
    """

    size: tuple[int, int]
    overlap: float = 0.5
    blend: Blend = "gaussian"
    batch_size: int = 4

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"window={list(self.size)}: give height and width in pixels, as in window=[512,512].")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap={self.overlap}: give the share of a window that the next one covers, 0…0.9.")
        if self.blend not in BLENDS:
            raise ValueError(f"blend={self.blend}: choose one of {', '.join(BLENDS)}.")
        if self.batch_size < 1:
            raise ValueError(f"window_batch={self.batch_size}: give 1 window or more.")


class Span(NamedTuple):
    """Rows or columns of a window."""

    start: int
    length: int


def sliding_window(
    model: Model,
    images: Tensor,
    window: int | tuple[int, int],
    overlap: float = 0.5,
    blend: Blend = "gaussian",
    batch_size: int = 4,
) -> Tensor:
    """Apply a model to windows of images and blend what it gives.

    Args:
        model: (B, C, h, w) → (B, K, h, w), for h and w up to the window.
        images: (B, C, H, W), any dtype that the model takes.
        window: height and width in pixels, or one number for both.
        overlap, blend, batch_size: see :class:`SlidingWindow`.

    Returns:
        (B, K, H, W), in the model's dtype but at least float32, on its device.

    Raises:
        ValueError: an argument is out of its range, or the model gives maps of another size.
    """
    sliding = SlidingWindow((window, window) if isinstance(window, int) else window, overlap, blend, batch_size)
    height, width = images.shape[-2:]
    result: Tensor | None = None
    for number, image in enumerate(images):
        for top, band in blended_bands(model, lambda top, rows: image[:, top : top + rows], (height, width), sliding):  # noqa: B023 - used at once
            if result is None:
                result = band.new_empty((len(images), len(band), height, width))
            result[number, :, top : top + band.shape[1]] = band
    if result is None:
        raise ValueError(f"images of shape {tuple(images.shape)} hold no pixels.")
    return result


def blended_bands(
    model: Model, read: Callable[[int, int], Tensor], shape: tuple[int, int], sliding: SlidingWindow
) -> Iterator[tuple[int, Tensor]]:
    """The blended map of one image, from the top, in bands of rows.

    Args:
        model: (B, C, h, w) → (B, K, h, w).
        read: gives (C, rows, W) from the first row and the number of rows; asked once for each row of windows.
        shape: (H, W) of the image.
        sliding: the windows.

    Yields:
        First row and (K, rows, W). The tensor is overwritten when the next band is asked for.

    Raises:
        ValueError: the model gives maps of another size than its windows.
    """
    rows, columns = (spans(side, size, sliding.overlap) for side, size in zip(shape, sliding.size, strict=True))
    row_weights, column_weights = (
        partition(side, found, sliding.blend) for side, found in zip(shape, (rows, columns), strict=True)
    )
    buffer = _Buffer(max(row.length for row in rows), shape[1])
    for index, (row, row_weight) in enumerate(zip(rows, row_weights, strict=True)):
        strip = read(row.start, row.length)
        weights: dict[int, Tensor] = {}
        for span, weight, found in _windows(model, strip, columns, column_weights, sliding.batch_size):
            if len(rows) == len(columns) == 1:
                yield 0, found
                return
            if id(weight) not in weights:
                weights[id(weight)] = _like(row_weight, found)[:, None] * _like(weight, found)
            buffer.add(span, found, weights[id(weight)])
        after = rows[index + 1].start if index + 1 < len(rows) else shape[0]
        yield row.start, buffer.first(after - row.start)
        buffer.drop(after - row.start)


def spans(side: int, window: int, overlap: float) -> list[Span]:
    """Where windows lie along one side of an image, in order; together they cover it.

    Without overlap the last one may be shorter; else it is shifted back.
    """
    length = min(window, side)
    if not overlap:
        return [Span(start, min(length, side - start)) for start in range(0, side, length)]
    step = max(int(length * (1 - overlap)), 1)
    starts = [*range(0, side - length, step), side - length]
    return [Span(start, length) for start in starts]


def partition(side: int, windows: Sequence[Span], blend: Blend) -> list[Tensor]:
    """(length,) float64 weights of each window along a side, summing to 1 at every pixel; equal ones are one object."""
    own = [_profile(window.length, blend) for window in windows]
    total = np.zeros(side)
    for window, weight in zip(windows, own, strict=True):
        total[window.start : window.start + window.length] += weight
    scaled = [
        weight / total[window.start : window.start + window.length] for window, weight in zip(windows, own, strict=True)
    ]
    kept: dict[bytes, Tensor] = {}
    return [kept.setdefault(weight.tobytes(), torch.from_numpy(weight)) for weight in scaled]


def _profile(length: int, blend: Blend) -> npt.NDArray[np.float64]:
    """Weights of a window's pixels along one side, above 0 and symmetric."""
    if blend == "uniform":
        return np.ones(length)
    middle = (length - 1) / 2
    offset = np.arange(length) - middle
    if blend == "hann":  # sampled in the middle of pixels, so that it is nowhere 0
        return np.asarray(np.cos(np.pi * offset / length) ** 2)
    return np.asarray(np.maximum(np.exp(-0.5 * (offset / (SIGMA * length)) ** 2), LEAST))


def _windows(
    model: Model, strip: Tensor, columns: Sequence[Span], weights: Sequence[Tensor], batch_size: int
) -> Iterator[tuple[Span, Tensor, Tensor]]:
    """Span, column weights and map (K, h, w) of each window of a row, computed in batches of one size."""
    for _, alike in groupby(zip(columns, weights, strict=True), lambda pair: pair[0].length):
        row = list(alike)
        for start in range(0, len(row), batch_size):
            batch = row[start : start + batch_size]
            images = torch.stack([strip[:, :, span.start : span.start + span.length] for span, _ in batch])
            found = model(images)
            if found.shape[-2:] != images.shape[-2:]:
                raise ValueError(
                    f"windows of {tuple(images.shape[-2:])} pixels (H, W) gave maps of {tuple(found.shape[-2:])}: the "
                    "model must label every pixel of what it is given."
                )
            found = found.to(torch.promote_types(found.dtype, torch.float32))
            yield from ((span, weight, one) for (span, weight), one in zip(batch, found, strict=True))


class _Buffer:
    """Sums of weighted maps over the rows that windows still reach."""

    def __init__(self, rows: int, width: int) -> None:
        self.rows = rows
        self.width = width
        self._sum: Tensor | None = None

    def add(self, span: Span, found: Tensor, weight: Tensor) -> None:
        """Add (K, h, w) times its weights (h, w)."""
        if self._sum is None:
            self._sum = _zeros_like(found, self.rows, self.width)
        place = self._sum[:, : found.shape[1], span.start : span.start + span.length]
        place.addcmul_(found, weight)

    def first(self, rows: int) -> Tensor:
        """The first rows, a view."""
        assert self._sum is not None
        return self._sum[:, :rows]

    def drop(self, rows: int) -> None:
        """Forget the first rows; the others move up."""
        assert self._sum is not None
        kept = self._sum[:, rows:]
        self._sum[:, : kept.shape[1]] = kept if kept.shape[1] <= rows else kept.clone()
        self._sum[:, kept.shape[1] :] = 0


def _like(weights: Tensor, found: Tensor) -> Tensor:
    """In the dtype and on the device of a map; not every device takes float64."""
    return weights.to(found.dtype).to(found.device)


def _zeros_like(found: Tensor, rows: int, width: int) -> Tensor:
    """(K, rows, width) zeros that lie in memory as a map (K, h, w) does: channels first or last."""
    classes = len(found)
    if classes > 1 and found.stride(0) == 1:
        return found.new_zeros((rows, width, classes)).permute(2, 0, 1)
    return found.new_zeros((classes, rows, width))
