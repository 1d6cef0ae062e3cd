"""COCO's run lengths: pixels counted column by column, runs of 0 and 1 in turn, beginning with 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from perpixel.data.formats.bounds import check_pixels

_LONGEST = 35  # bits of a run's length, as far as COCO's own tools go


def decode_rle(size: Sequence[int], counts: Sequence[int] | str) -> npt.NDArray[np.bool_]:
    """A mask (H, W) from its run lengths, as numbers or in COCO's compressed text.

    Raises:
        ValueError: the runs are no whole numbers or do not add up to H · W, or these are more pixels than an image has.
    """
    height, width = int(size[0]), int(size[1])
    check_pixels(height, width, "its run lengths' size", "export it anew")
    runs = np.array(_numbers(counts) if isinstance(counts, str) else counts)
    if runs.ndim != 1 or runs.dtype.kind not in "iu":
        raise ValueError("its run lengths are no whole numbers")
    if (runs < 0).any() or (runs > height * width).any():
        raise ValueError(f"some of its run lengths are below 0, or above its size of {height}×{width}")
    if runs.sum() != height * width:
        raise ValueError(f"its run lengths make {runs.sum()} pixels, but its size is {height}×{width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _numbers(text: str) -> list[int]:
    """Six bits a character from '0' on: five of the number, lowest first, and one that says that more follow.

    The highest of the five is the sign where none follow; from the fourth number on, each is the difference to the last
    but one.

    Raises:
        ValueError: a character, or a number, is none of this code.
    """
    numbers: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift >= _LONGEST:
            raise ValueError("its run lengths are none of COCO's compressed text")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value = shift = 0
    return numbers
