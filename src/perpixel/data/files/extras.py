"""What comes with an image and its mask: further images, further masks, per-pixel weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.augment.targets import Kind, checked_targets
from perpixel.data.formats.decode import read_image, read_values
from perpixel.spec import FULL_SCALE
from perpixel.windows import Window

Array = npt.NDArray[Any]
_KEYS = ("files", "kind", "key", "channels")


@dataclass(frozen=True)
class Extra:
    """Files of one kind, one for each sample.

    Args:
        name: what batches call it; ``weight`` is what the loss counts pixels by.
        kind: ``image``, ``mask`` or ``weight``.
        files: folder or glob, relative to the data's root.
        key: pattern over the path without suffix, whose groups make the key that image and file share.
        channels: C of images.
    """

    name: str
    kind: Kind
    files: str
    key: str = "(.+)"
    channels: int = 3

    def read(self, path: Path, window: Window | None = None) -> Array:
        """Decode a file or a window of it.

        Returns:
            Images (H, W, C) in the file's depth, masks (H, W) uint8 as stored, weights (H, W) float32 in units of full
            scale (1 for 255 in 8 bits), or as they are where the file holds floats.

        Raises:
            ValueError: the file cannot be read, a mask's value is beyond 8 bits, or a weight is no finite number ≥ 0.
        """
        if self.kind == "image":
            return read_image(path, self.channels, window)
        return _weights(path, window) if self.kind == "weight" else _mask(path, window)


def extras_of(weights: str | None, extras: Mapping[str, Mapping[str, Any]] | None) -> tuple[Extra, ...]:
    """The extras of a config: ``weights`` is short for ``extras: {weight: {files: …, kind: weight}}``.

    Raises:
        ValueError: a key is unknown or missing, a kind is unknown, a name is taken, or channels are none.
    """
    named = {name: dict(node) for name, node in (extras or {}).items()}
    if weights is not None:
        named = {"weight": {"files": weights, "kind": "weight"}} | named
    for name, node in named.items():
        wrong = [key for key in node if key not in _KEYS] or [key for key in ("files", "kind") if key not in node]
        if wrong:
            raise ValueError(
                f"data.source.extras.{name}: '{wrong[0]}' is {'unknown' if wrong[0] in node else 'missing'}: an extra "
                "reads {files: folder or glob, kind: image | mask | weight, key: pattern, channels: C}."
            )
        channels = node.get("channels", 1)
        if not isinstance(channels, int) or channels < 1:
            raise ValueError(
                f"data.source.extras.{name}.channels={channels}: give the images' number of channels, 1 for grey."
            )
    checked_targets({name: node["kind"] for name, node in named.items()})
    if named.get("weight", {}).get("kind", "weight") != "weight":
        raise ValueError("data.source.extras.weight: this name is the loss's, so its kind must be weight.")
    return tuple(Extra(name, **node) for name, node in named.items())


def read_extras(
    extras: Sequence[Extra], paths: Sequence[Path], window: Window | None, shape: tuple[int, int]
) -> dict[str, Array]:
    """All extras of a sample by name.

    Raises:
        ValueError: a file cannot be read, or shows another size than the sample's (H, W).
    """
    found = {extra.name: extra.read(path, window) for extra, path in zip(extras, paths, strict=True)}
    for (name, array), path in zip(found.items(), paths, strict=True):
        check_size(name, path, array.shape[:2], shape)
    return found


def check_size(name: str, path: Path, found: tuple[int, ...], shape: tuple[int, int]) -> None:
    """What comes with a sample must show the same picture.

    Raises:
        ValueError: names the file, its size (H, W) and the sample's.
    """
    if found != shape:
        raise ValueError(
            f"'{path}' ({name}) is {found[0]}×{found[1]} (H×W), but its image and mask are "
            f"{shape[0]}×{shape[1]}: all that belongs to a sample must be the same picture at the same size."
        )


def _weights(path: Path, window: Window | None) -> Array:
    stored = read_image(path, 1, window)[..., 0]
    weights = np.asarray(stored, np.float32) / np.float32(FULL_SCALE[stored.dtype.name])
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(f"'{path}' holds weights that are negative or no numbers: a pixel counts 0 or more.")
    return weights


def _mask(path: Path, window: Window | None) -> Array:
    values = read_values(path, window)
    if values.ndim != 2 or values.min(initial=0) < 0 or values.max(initial=0) > 255:
        raise ValueError(f"'{path}' is no mask of values 0…255, one a pixel.")
    return values.astype(np.uint8)
