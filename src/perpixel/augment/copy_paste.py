"""Objects of rare classes, copied into other images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.mixing import Mixing
from perpixel.augment.recipe import Image, Mask, Recipe
from perpixel.augment.targets import Targets

SHOWN = 30
"""How many class names an error lists."""


class CopyPaste(Mixing):
    """Paste connected components of chosen classes from another sample (Ghiasi et al. 2021).

    The image's edge is feathered, so that no cut-out outline tells the object; the mask's edge stays hard.

    Args:
        recipe: what every sample goes through first.
        classes: the classes whose components are copied: indices, or names where ``check_classes`` is told what they
            mean (the data module does).
        p: probability of mixing.
        tries: how many partners are drawn in search of one that holds such a class.
        objects: most components that are pasted.
        feather: width of the soft edge, as the blur's standard deviation in pixels.
        smallest: components of fewer pixels are left out.
    """

    def __init__(
        self,
        recipe: Recipe,
        classes: Sequence[int | str],
        p: float = 0.5,
        tries: int = 4,
        objects: int = 5,
        feather: float = 1.0,
        smallest: int = 16,
    ) -> None:
        super().__init__(recipe, p)
        if not classes:
            raise ValueError("augment.classes is empty: list the names or indices of the classes to copy.")
        if tries < 1 or objects < 1 or feather < 0:
            raise ValueError(
                f"augment.tries={tries} and objects={objects} must be at least 1, feather={feather} not below 0."
            )
        self.classes = tuple(classes)
        self.sought = tuple(one for one in classes if isinstance(one, int))
        self.tries = tries
        self.objects = objects
        self.feather = feather
        self.smallest = smallest

    def check_classes(self, names: Sequence[str]) -> None:
        """Find the classes to copy among the data's.

        Raises:
            ValueError: there is no such class; nothing would ever be pasted.
        """
        indices = {name: index for index, name in enumerate(names)} | {index: index for index in range(len(names))}
        if unknown := [one for one in self.classes if one not in indices]:
            shown = f"{', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}"
            raise ValueError(
                f"augment.classes={list(self.classes)} holds {unknown[0]!r}, but the data have the classes "
                f"0…{len(names) - 1} ({shown}): list indices or names of these."
            )
        self.sought = tuple(indices[one] for one in self.classes)

    def mix(self, targets: Targets, partner: Callable[[], Targets], rng: np.random.Generator) -> Targets:
        """Paste from the first partner that holds one of the classes; without one, the sample stays as it is."""
        for _ in range(self.tries):
            other = partner()
            chosen = self._components(other["mask"], rng)
            if chosen.any():
                return {name: self._pasted(array, other[name], chosen) for name, array in targets.items()}
        return targets

    def _pasted(self, array: Image, other: Image, chosen: npt.NDArray[np.bool_]) -> Image:
        """Images, (H, W, C), with a soft edge; masks and weights, (H, W), with a hard one."""
        return blend(array, other, self._soft(chosen)) if array.ndim == 3 else np.where(chosen, other, array)

    def _components(self, mask: Mask, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Where some random components of the classes are."""
        wanted = np.isin(mask, self.sought).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(wanted, connectivity=8)
        large = [label for label in range(1, len(stats)) if stats[label, cv2.CC_STAT_AREA] >= self.smallest]
        return np.isin(labels, rng.permutation(large)[: self.objects]) if large else np.zeros(mask.shape, bool)

    def _soft(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        alpha = chosen.astype(np.float32)
        return alpha if self.feather == 0 else np.asarray(cv2.GaussianBlur(alpha, (0, 0), self.feather), np.float32)


def blend(image: Image, other: Image, alpha: npt.NDArray[np.float32]) -> Image:
    """``alpha`` of the other image, (H, W) in 0…1, over the image; both (H, W, C) of one dtype."""
    mixed = image + (other.astype(np.float32) - image) * alpha[..., None]
    return np.asarray(mixed if image.dtype.kind == "f" else np.rint(mixed), image.dtype)
