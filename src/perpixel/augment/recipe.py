"""What every augmentation recipe promises, whatever it does to a sample."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import A
from perpixel.augment.crop import RandomScaleCrop
from perpixel.augment.targets import Targets, checked_targets, without_weight_outside

Image = npt.NDArray[Any]
Mask = npt.NDArray[Any]

RESIZES = (
    A.LongestMaxSize,
    A.RandomResizedCrop,
    A.RandomScale,
    A.RandomSizedCrop,
    A.Resize,
    A.SmallestMaxSize,
)
"""Transforms that resize masks with cv2.resize; the others that interpolate masks warp them with cv2.remap and kin."""


class Recipe:
    """A sequence of albumentations transforms that keeps image and mask aligned.

    A recipe ends in one size, so that samples make a batch. Geometry comes first (it makes the sample small), then
    colour, which sees the image alone. Masks are never blended: they are resized by nearest-exact, because OpenCV's
    plain nearest shifts them by about half an output pixel, and warped by nearest, which its warps do without a shift.
    What a transform pads or leaves empty becomes ``fill`` in the mask.

    All randomness is a function of the ``rng`` of a call: one generator and one ``random.Random`` drawn from it are
    shared by all transforms. (``Compose.set_random_seed`` would give each transform a stream of its own from the same
    seed, and flips would fire together.)

    Args:
        size: (H, W) of the result.
        fill: mask value of pixels that padding invents; the labels' ignore value.
        additional_targets: names of further arrays that ``apply`` takes and what they are treated as (see
            ``perpixel.augment.targets.Kind``), as in ``{"second_image": "image", "weight": "weight"}``. The data
            module adds what its source brings.
        geometry: transforms of image and mask; the last size they give must be ``size``.
        colour: transforms of the image alone.

    Raises:
        ValueError: a size or an additional target makes no sense, or a transform is in the wrong list.
    """

    sought: tuple[int, ...] = ()
    """Class indices that the recipe looks for in masks, if any in particular."""

    def __init__(
        self,
        size: Sequence[int],
        fill: int,
        additional_targets: Mapping[str, str] | None,
        *,
        geometry: Sequence[A.BasicTransform],
        colour: Sequence[A.BasicTransform] = (),
    ) -> None:
        self.size = checked_size(size)
        self.fill = fill
        self.additional_targets: dict[str, str] = {}
        self.geometry = tuple(_masks_by_nearest(transform, fill) for transform in geometry)
        self.colour = tuple(_image_only(transform) for transform in colour)
        first = self.geometry[0] if self.geometry else None
        self._crop = first if isinstance(first, RandomScaleCrop) else None
        self._after_crop = self.geometry[1:] if self._crop else self.geometry
        self.expect(additional_targets or {})

    def expect(self, targets: Mapping[str, str]) -> None:
        """Take further targets, by name and kind, besides those already known.

        Raises:
            ValueError: a kind is unknown, or a name is taken.
        """
        self.additional_targets |= checked_targets(targets)
        treated = {name: "image" if kind == "image" else "mask" for name, kind in self.additional_targets.items()}
        self._treated = treated
        self._stages: tuple[A.Compose, ...]
        if "image" in treated.values():  # only geometry is theirs
            self._stages = (A.Compose(self._after_crop, additional_targets=treated), A.Compose(self.colour))
        else:
            self._stages = (A.Compose([*self._after_crop, *self.colour], additional_targets=treated),)

    def check_classes(self, names: Sequence[str]) -> None:
        """Whether the recipe fits the data's classes, by name in the order of their indices; called before training.

        Raises:
            ValueError: the recipe looks for a class that the data do not have.
        """

    def check_channels(self, channels: int) -> None:
        """Whether the recipe can take images of so many channels; called before anything is trained.

        Raises:
            ValueError: a transform is of grey or RGB alone; says which keys to set.
        """
        mends = dict.fromkeys(getattr(part, "needs_rgb", "") for part in _leaves(self.colour) if part.p > 0)
        if channels not in (1, 3) and any(mends):
            raise ValueError(
                f"{type(self).__name__} turns hues or takes colours away, which only RGB has, but the images have "
                f"{channels} channels: set {' '.join(filter(None, mends))} (augment.recipe.… in a mixture), or choose "
                "augment=satellite or augment=light (augment@augment.recipe=… under a mixture)."
            )

    def __call__(self, image: Image, mask: Mask, rng: np.random.Generator) -> tuple[Image, Mask]:
        """Augment one sample.

        Args:
            image: (H, W, C).
            mask: (H, W) class indices.
            rng: where all randomness comes from.

        Returns:
            Image (size, C) and mask (size) in the dtypes they came in.
        """
        result = self.apply({"image": image, "mask": mask}, rng)
        return result["image"], result["mask"]

    def sample(self, targets: Targets, rng: np.random.Generator, another: Callable[[], Targets]) -> Targets:
        """Augment one sample that may be mixed with others.

        Args:
            targets: ``image``, ``mask`` and any additional targets.
            rng: where all randomness comes from.
            another: gives the targets of a sample drawn from the whole data set, as they were read.
        """
        return self.apply(targets, rng)

    def apply(self, targets: Targets, rng: np.random.Generator) -> Targets:
        """Augment ``image``, ``mask`` and any additional targets alike.

        Raises:
            ValueError: a target is not known, or the result has another size than the recipe promises.
        """
        if unknown := [name for name in targets if name not in ("image", "mask", *self.additional_targets)]:
            raise ValueError(f"target '{unknown[0]}' is unknown to the recipe: name it in additional_targets.")
        result = self._run(targets, rng)
        if result["image"].shape[:2] != self.size:
            raise ValueError(
                f"{type(self).__name__} promises images of {self.size}, but its transforms gave "
                f"{result['image'].shape[:2]}: end its geometry with a crop or resize to size."
            )
        return without_weight_outside(result, self.additional_targets, self.fill)

    def _run(self, targets: Targets, rng: np.random.Generator) -> Targets:
        shared = random.Random(int(rng.integers(2**63)))
        geometry, *colour = self._stages
        geometry.set_random_state(rng, shared)
        result: Targets = geometry(force_apply=True, **self._cut(targets, rng, shared))
        for stage in colour:
            stage.set_random_state(rng, shared)
            result["image"] = stage(image=result["image"])["image"]
        return result

    def _cut(self, targets: Targets, rng: np.random.Generator, shared: random.Random) -> Targets:
        """The first crop, outside the pipeline: albumentations would have all pixels of an image decoded."""
        shared.random()  # the coin that a pipeline tosses before its first transform, kept so that draws stay the same
        shapes = {name: tuple(array.shape[:2]) for name, array in targets.items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"the targets must be the same picture at the same size, but their (H, W) are {shapes}.")
        if self._crop is None:
            return {name: np.asarray(array) for name, array in targets.items()}
        self._crop.set_random_state(rng, shared)
        return self._crop.cut_first(targets, self._treated)


def checked_size(size: Sequence[int]) -> tuple[int, int]:
    """(H, W) from a config's list."""
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"data.size={list(size)} must be two positive numbers, [height, width].")
    return int(size[0]), int(size[1])


def _masks_by_nearest(transform: A.BasicTransform, fill: int) -> A.BasicTransform:
    for part in _leaves([transform]):
        if hasattr(part, "mask_interpolation"):
            part.mask_interpolation = cv2.INTER_NEAREST_EXACT if isinstance(part, RESIZES) else cv2.INTER_NEAREST
        if hasattr(part, "fill_mask"):
            part.fill_mask = fill
    return transform


def _image_only(transform: A.BasicTransform) -> A.BasicTransform:
    for part in _leaves([transform]):
        if not isinstance(part, A.ImageOnlyTransform):
            raise ValueError(f"{type(part).__name__} changes masks too: it belongs to a recipe's geometry, not colour.")
    return transform


def _leaves(transforms: Iterable[A.BasicTransform | A.BaseCompose]) -> Iterator[A.BasicTransform]:
    for transform in transforms:
        if isinstance(transform, A.BaseCompose):
            yield from _leaves(transform.transforms)
        else:
            yield transform
