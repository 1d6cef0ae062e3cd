"""NumPy arrays with their axes in another order than pictures have them, and how they are saved anew."""

from __future__ import annotations

from pathlib import Path

from perpixel.data.formats.npy import load_npy

MOST_CHANNELS = 16
"""Length of a leading axis up to which it is taken for channels rather than rows."""


_ONE_HOT = (
    ", with a plane for each class as it seems (one-hot), and masks are (H, W), one class index per pixel. Save each "
    "as the index of its largest plane: "
)


def rewritten(path: Path, change: str, package: str = "numpy as np") -> str:
    """A command that rewrites one NumPy file; ``change`` makes the new array of ``a``."""
    return f"python -c \"import {package}; p = r'{path}'; a = np.load(p); np.save(p, {change})\""


def channels_first(path: Path, shape: tuple[int, ...]) -> str:
    """What to do about an image of a NumPy file whose (C, H, W) was read as (H, W, C); empty where it seems sound."""
    first, last = shape[0], shape[-1]
    if path.suffix.lower() != ".npy" or len(shape) != 3 or not first <= MOST_CHANNELS < last:
        return ""
    return (
        f"'{path}' has shape {shape}, which looks like (C, H, W), and pictures are read as (H, W, C). Turn the axes of "
        f"each file: {rewritten(path, 'a.transpose(1, 2, 0)')}"
    )


def axes_advice(image: Path, mask: Path) -> str:
    """Why two files differ in size where the axes of one are the reason, and what to do; empty where they are not."""
    images, masks = _planes(image), _planes(mask)
    if len(images) > 1 and images[1] in masks:
        return f" {channels_first(image, load_npy(image).shape)}"
    if len(masks) > 1 and masks[1] in images:
        return f" {_of_mask(mask, load_npy(mask).shape)}"
    return ""


def one_hot_advice(path: Path, shape: tuple[int, ...]) -> str:
    """What to do about a mask with one plane for each class, (H, W, K)."""
    is_npy = path.suffix.lower() == ".npy"
    how = rewritten(path, "a.argmax(-1).astype(np.uint8)") if is_npy else "for its array a, a.argmax(-1)"
    return f"mask '{path}' has shape {shape}{_ONE_HOT}{how}"


def _of_mask(path: Path, shape: tuple[int, ...]) -> str:
    if shape[0] == 1:
        return f"The mask has shape {shape}, and masks are (H, W): {rewritten(path, 'a[0]')}"
    return f"The mask has shape {shape}{_ONE_HOT}{rewritten(path, 'a.argmax(0).astype(np.uint8)')}"


def _planes(path: Path) -> list[tuple[int, ...]]:
    """(H, W) as the file is read, and as it would be with its first axis apart."""
    if path.suffix.lower() != ".npy":
        return [_shape_of_picture(path)]
    shape = load_npy(path).shape
    return [shape[:2]] if len(shape) == 2 else [shape[:2], shape[1:]]


def _shape_of_picture(path: Path) -> tuple[int, ...]:
    from perpixel.data.formats.decode import image_shape  # which imports this module

    return image_shape(path)
