"""Is the export the same model? Both are run on the same images, and what differs is counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from perpixel.export.base import Bound
from perpixel.inference.backend import Backend
from perpixel.labels import LabelSpace
from perpixel.metrics.confusion import confusion_matrix
from perpixel.metrics.scores import counts_of, iou

Counts = npt.NDArray[np.int64]
RESAMPLES = 1000
LEAST_SIDE = 33
"""Pixels; some networks pool smaller images away."""


class Labelled(NamedTuple):
    """An image with its labels: (1, C, H, W) float32 in 0…1 of full scale, and (1, H, W) integers."""

    image: Tensor
    mask: Tensor


class MiouDrop(NamedTuple):
    """mIoU lost by the export, in points (0…100).

    Attributes:
        original, exported: their mIoU, points.
        drop: of the first less that of the second.
        low, high: 95 % interval of the drop, both models on the same resampled images (paired bootstrap).
        images: how many.
    """

    original: float
    exported: float
    drop: float
    low: float
    high: float
    images: int


@dataclass
class Parity:
    """What differs between a model and its export.

    Attributes:
        max_relative: largest |Δlogit|, as a share of the range of the original's logits of the same batch.
        mean_relative: mean |Δlogit|, as a share of that range.
        pixels: how many were compared.
        differing: how many of them have another label.
        shapes: (B, H, W) of the compared batches.
        miou: None where no image has labels.
    """

    max_relative: float = 0.0
    mean_relative: float = 0.0
    pixels: int = 0
    differing: int = 0
    shapes: list[tuple[int, int, int]] = field(default_factory=list)
    miou: MiouDrop | None = None

    @property
    def agreement(self) -> float:
        """Share of pixels with the same label, 0…1."""
        return 1 - self.differing / max(self.pixels, 1)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``model.json``."""
        return {
            "max_relative": self.max_relative,
            "mean_relative": self.mean_relative,
            "agreement": self.agreement,
            "pixels": self.pixels,
            "shapes": [list(shape) for shape in self.shapes],
            "miou": None if self.miou is None else self.miou._asdict(),
        }

    def __str__(self) -> str:
        text = (
            f"|Δlogit| at most {self.max_relative:.1e} and on average {self.mean_relative:.1e} of the logits' range; "
            f"{100 * self.agreement:.4f} % of {self.pixels:,} pixels have the same label, at "
            f"{len({shape[1:] for shape in self.shapes})} sizes"
        )
        if (found := self.miou) is None:
            return f"{text}; no labelled images, so no mIoU"
        return (
            f"{text}; mIoU {found.original:.2f} → {found.exported:.2f} on {found.images} images "
            f"(lost {found.drop:.2f} points, 95 % interval {found.low:.2f}…{found.high:.2f})"
        )


def compare(
    original: Backend, exported: Backend, batches: Iterable[Tensor], labelled: Iterable[Labelled], labels: LabelSpace
) -> Parity:
    """Run both on the same images.

    Args:
        original: the bundle, in float32.
        exported: what was written.
        batches: (B, C, H, W) float32 in 0…1 of full scale, of any sizes.
        labelled: images with labels, for the mIoU; their logits count among the others, too.
        labels: ignore index and number of classes.

    Raises:
        ValueError: the export fails at a size, gives another shape or numbers that are not finite.
    """
    found, total = Parity(), 0.0
    pairs: list[tuple[Counts, Counts]] = []

    def both(images: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal total
        wanted, got = original(images).float().cpu(), _run(exported, images)
        _check_alike(wanted, got)
        spread = max(float(wanted.max() - wanted.min()), torch.finfo(torch.float32).tiny)
        delta = (wanted - got).abs()
        before, after = wanted.argmax(dim=1), got.argmax(dim=1)
        found.max_relative = max(found.max_relative, float(delta.max()) / spread)
        total += float(delta.double().mean()) / spread * before.numel()
        found.differing += int((before != after).sum())
        found.pixels += before.numel()
        if (shape := (len(images), *images.shape[-2:])) not in found.shapes:
            found.shapes.append(shape)
        return before, after

    for images in batches:
        both(images)
    for image, mask in labelled:
        pairs.append(tuple(_confusion(guess, mask, labels) for guess in both(image)))  # type: ignore[arg-type]
    found.mean_relative = total / max(found.pixels, 1)
    if pairs:
        found.miou = miou_drop(np.stack([one for one, _ in pairs]), np.stack([other for _, other in pairs]))
    return found


def _run(exported: Backend, images: Tensor) -> Tensor:
    try:
        return exported(images).float().cpu()
    except Exception as error:
        shape = tuple(images.shape)
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(f"the export cannot take images of shape {shape}: {reason}") from error


def _check_alike(wanted: Tensor, got: Tensor) -> None:
    if wanted.shape != got.shape:
        raise ValueError(f"the export gives logits of shape {tuple(got.shape)}, the original {tuple(wanted.shape)}.")
    if not got.isfinite().all():
        raise ValueError("the export gives logits that are not finite.")


def _confusion(guess: Tensor, mask: Tensor, labels: LabelSpace) -> Counts:
    found: Counts = confusion_matrix(guess, mask.long(), labels.num_classes, labels.fill).numpy()
    return found


def miou_drop(original: Counts, exported: Counts) -> MiouDrop:
    """mIoU lost, with a paired bootstrap over images.

    Args:
        original, exported: (N, K, K) confusion matrices of the same N images.
    """
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(original), np.full(len(original), 1 / len(original)), size=RESAMPLES)
    before, after = (_mious(np.tensordot(draws, found, axes=1)) for found in (original, exported))
    first, second = (100 * float(_mious(found.sum(0, keepdims=True))[0]) for found in (original, exported))
    low, high = 100 * np.nanpercentile(before - after, [2.5, 97.5])
    return MiouDrop(first, second, first - second, float(low), float(high), len(original))


def _mious(confusions: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(N, K, K) → (N,): the mean over classes that occur; as :mod:`perpixel.metrics` has it."""
    values = np.stack([iou(counts_of(torch.from_numpy(np.asarray(one)))).numpy() for one in confusions])
    return np.asarray(np.nanmean(values, axis=1))


def faults(found: Parity, bound: Bound) -> list[str]:
    """What is past the bound, each with the figure; empty where the export holds."""
    past = []
    if bound.relative is not None and found.max_relative > bound.relative:
        past.append(f"|Δlogit| reaches {found.max_relative:.2e} of the logits' range (bound {bound.relative:.0e})")
    if bound.miou_drop is None or _too_few(found, bound.miou_drop):
        least = bound.agreement if bound.miou_drop is None else bound.enough_agreement
        if found.agreement < least:
            past.append(f"{100 * found.agreement:.4f} % of the pixels have the same label (bound {100 * least:g} %)")
    elif found.miou is not None and found.miou.high > bound.miou_drop:
        past.append(
            f"mIoU may have lost {found.miou.high:.2f} points (upper end of the 95 % interval; bound {bound.miou_drop})"
        )
    return past


def remark(found: Parity, bound: Bound) -> str | None:
    """What to say where the loss of mIoU could not be measured well enough, and agreement decided."""
    if bound.miou_drop is None or not _too_few(found, bound.miou_drop):
        return None
    why = (
        "there are no labelled images"
        if found.miou is None
        else f"{found.miou.images} images leave ±{(found.miou.high - found.miou.low) / 2:.2f} points"
    )
    return (
        f"the loss of mIoU cannot be held to {bound.miou_drop} points, as {why}: instead "
        f"{100 * bound.enough_agreement:g} % of the pixels must keep their label."
    )


def _too_few(found: Parity, drop: float) -> bool:
    return found.miou is None or (found.miou.high - found.miou.low) / 2 > drop


def shapes_to_try(size: tuple[int, int], fixed: bool) -> list[tuple[int, int, int]]:
    """(B, H, W) of the batches of a comparison: odd sizes, H ≠ W, several batches; one size where it is fixed.

    Args:
        size: (H, W) of training samples, or the fixed size.
        fixed: whether the export takes this size only.
    """
    height, width = size
    if fixed:
        return [(1, height, width), (3, height, width)]
    found = [
        (2, height, width),
        (1, height * 3 // 4 | 1, width * 5 // 4 | 1),
        (3, height * 5 // 4 + 6, width * 2 // 3 | 1),
        (1, height // 2 | 1, width // 2 + 2),
    ]
    return [(batch, max(tall, LEAST_SIDE), max(wide, LEAST_SIDE)) for batch, tall, wide in found]


def batches_of(
    images: Sequence[Tensor], shapes: Sequence[tuple[int, int, int]], pixels: int, seed: int = 0
) -> Iterator[Tensor]:
    """Cut batches of given shapes out of images, at random places, until there are so many pixels.

    Args:
        images: (C, H, W) float32; those that are too small are repeated mirrored.
        shapes: (B, H, W), taken in turn, each at least once.
        pixels: to reach.
    """
    rng = np.random.default_rng(seed)
    seen = turn = taken = 0
    while seen < pixels or turn < len(shapes):
        batch, height, width = shapes[turn % len(shapes)]
        chosen = [images[(taken + index) % len(images)] for index in range(batch)]
        yield torch.stack([cut(image, (height, width), rng) for image in chosen])
        seen, turn, taken = seen + batch * height * width, turn + 1, taken + batch


def cut(image: Tensor, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """A part (C, h, w) of (C, H, W) at a random place; a side that is too short goes on mirrored."""
    lacking = [max(want - have, 0) for want, have in zip(size, image.shape[-2:], strict=True)]
    if any(lacking):
        widths = [(0, 0), (0, lacking[0]), (0, lacking[1])]
        image = torch.from_numpy(np.pad(image.numpy(), widths, mode="symmetric"))
    top, left = (int(rng.integers(have - want + 1)) for want, have in zip(size, image.shape[-2:], strict=True))
    return image[:, top : top + size[0], left : left + size[1]]
