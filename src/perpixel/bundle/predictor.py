"""A trained model in use: images of any size and format in, labels and probabilities out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from perpixel.bundle.prediction import Prediction
from perpixel.data.formats.decode import read_image, read_picture
from perpixel.data.formats.display import stretch
from perpixel.data.formats.values import WrongChannels, as_hwc, with_channels
from perpixel.inference.backend import Backend
from perpixel.inference.images import to_unit_range
from perpixel.inference.refine import Refinement
from perpixel.inference.sliding_window import SlidingWindow, blended_bands, sliding_window
from perpixel.inference.tta import TTABackend
from perpixel.spec import ModelSpec
from perpixel.windows import Window, Windowed

Array = npt.NDArray[Any]
Picture = str | Path | Image.Image | Array

LEAST_WINDOW = 512
"""Pixels of a side: below, more is computed twice in overlaps than a smaller window saves."""

BAND_VALUES = 1 << 23
"""Most probabilities of a band that are handed out together, 32 MB."""

SAMPLED, SAMPLES = 64, 6
"""Pixels of a side, and parts along a side, from which an image's brightness is taken."""


class Predictor:
    """Runs a trained model on images. :func:`perpixel.load` makes one from a run directory or a bundle.

    Args:
        backend: runs the network.
        spec: what the model takes and what its classes are.
        window: images are seen through windows of this size that overlap (one number for both sides, or a
            :class:`SlidingWindow`); None shows them whole to the network, as training's evaluation does.
        tta: views whose probabilities are averaged, in each window (see :func:`perpixel.inference.tta.views`).
        refine: what follows :meth:`predict`; :meth:`stream`, which never sees all of an image, takes none.

    Raises:
        ValueError: a view is impossible, or a class to refine is none of the model's.
    """

    def __init__(
        self,
        backend: Backend,
        spec: ModelSpec,
        window: int | SlidingWindow | None = None,
        tta: Sequence[str | float] = (),
        refine: Refinement | None = None,
    ) -> None:
        self.backend = TTABackend(backend, tta) if tta else backend
        self.spec = spec
        self.window = SlidingWindow((window, window)) if isinstance(window, int) else window
        self.refine = refine or Refinement()
        self.refine.check_classes(spec.labels.names)

    def predict(self, image: Picture, where: Path | str = "the given image") -> Prediction:
        """Label every pixel of one image.

        Args:
            image: a file (PNG, JPEG, WebP, TIFF, BMP, NumPy), a PIL image, or an array (H, W) or (H, W, C) of uint8,
                uint16, int16, float32 or float64. Files and PIL images are turned upright as their EXIF says, and
                their colours are RGB.
            where: what errors call an image that is no file.

        Raises:
            ValueError: the image is damaged, or has other channels or another depth than the model was trained on.
        """
        pixels = self._read(image, Path(image) if isinstance(image, str | Path) else Path(where))
        images = _channels_first(pixels)[None]
        logits = self.logits(images)[0]
        if not self.refine.is_nothing:
            logits = self.refine(logits, to_unit_range(images)[0], self.spec.labels.names)
        return Prediction(pixels, logits, self.spec.labels)

    def stream(self, image: Windowed, where: Path | str = "the given image") -> Iterator[tuple[Window, Prediction]]:
        """Label an image of any height in bands of rows, from the top; neither it nor its labels are held as a whole.

        Args:
            image: gives its pixels by window, (H, W, C); see :func:`perpixel.data.formats.windowed.open_windowed`.
            where: what errors call it.

        Yields:
            The rows, over the whole width, and what the model says of them. Without a window of the predictor's own,
            windows of the training's size but at least 512 pixels are taken.

        Raises:
            ValueError: as :meth:`predict`, or the predictor refines.
        """
        if not self.refine.is_nothing:
            raise ValueError("refinement needs the whole image: take predict, or a predictor without refine.")
        strip = _Strip(image, lambda pixels: self._taken(pixels, Path(where)))
        sliding = self.by_window().window
        assert sliding is not None
        ends: tuple[float, float] | None = None
        for top, band in blended_bands(self._window_logits, strip.read, image.shape, sliding):
            if top == 0:
                ends = strip.stretch()
            rows = max(BAND_VALUES // (len(band) * image.shape[1]), 1)
            for start in range(0, band.shape[1], rows):
                part = band[:, start : start + rows].clone()
                pixels = strip.pixels(top + start, part.shape[1])
                yield Window(top + start, 0, *part.shape[1:]), Prediction(pixels, part, self.spec.labels, ends)

    def by_window(self) -> Predictor:
        """This predictor, or one with windows of the training's size (512 pixels at least) where it has none."""
        if self.window is not None:
            return self
        found = copy.copy(self)
        height, width = (max(side, LEAST_WINDOW) for side in self.spec.train_size)
        found.window = SlidingWindow((height, width))
        return found

    def logits(self, images: Tensor) -> Tensor:
        """(B, C, H, W) images in a stored depth (uint8, uint16, float32) → (B, K, H, W) logits, on its device."""
        if self.window is None:
            return self.backend(to_unit_range(images))
        sliding = self.window
        return sliding_window(
            self._window_logits, images, sliding.size, sliding.overlap, sliding.blend, sliding.batch_size
        )

    def _window_logits(self, images: Tensor) -> Tensor:
        return self.backend(to_unit_range(images))

    def _read(self, image: Picture, where: Path) -> Array:
        """(H, W, C) as the model takes it."""
        with self.naming_channels(where):
            return self._in_depth(_pixels(image, self.spec.in_channels, where), where)

    def _taken(self, pixels: Array, where: Path) -> Array:
        """(H, W) or (H, W, C) of a file → (H, W, C) as the model takes it."""
        with self.naming_channels(where):
            return self._in_depth(with_channels(as_hwc(pixels, where), self.spec.in_channels, where), where)

    @contextmanager
    def naming_channels(self, where: Path) -> Iterator[None]:
        """An image that has other channels is answered with those that the model was trained on.

        Raises:
            ValueError: instead of :class:`WrongChannels`.
        """
        try:
            yield
        except WrongChannels as error:
            raise ValueError(
                f"'{where}' has {error.channels} channels, but the model was trained on images of "
                f"{self.spec.in_channels}: give it the same bands in the same order."
            ) from None

    def _in_depth(self, pixels: Array, where: Path) -> Array:
        trained = self.spec.image_dtype
        if pixels.dtype.name == trained:
            return pixels
        raise ValueError(
            f"'{where}' holds {pixels.dtype.name} values, but the model was trained on {trained} images, whose values "
            f"mean something else. Convert the image to {trained} as the training images were."
        )


def _pixels(image: Picture, channels: int, where: Path) -> Array:
    if isinstance(image, str | Path):
        return read_image(where, channels)
    if isinstance(image, Image.Image):
        return read_picture(image, channels, where)
    array = np.asarray(image)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"the given array has shape {array.shape}: give (H, W) or (H, W, C), with pixels in it.")
    return with_channels(as_hwc(array, where), channels, where)


class _Strip:
    """The rows of an image that the windows reach, each read from its file once.

    Args:
        image: the file.
        taken: checks and completes what was read.
    """

    def __init__(self, image: Windowed, taken: Callable[[Array], Array]) -> None:
        self.image = image
        self.taken = taken
        self._top = 0
        self._rows: Array | None = None

    def read(self, top: int, rows: int) -> Tensor:
        """(C, rows, W) from a row on; earlier ones are forgotten."""
        kept = None if self._rows is None else self._rows[top - self._top :]
        start = top if kept is None else top + len(kept)
        fresh = self.taken(self.image[start : top + rows, 0 : self.image.shape[1]])
        self._rows = fresh if kept is None or not len(kept) else np.concatenate([kept, fresh])
        self._top = top
        return _channels_first(self._rows)

    def pixels(self, top: int, rows: int) -> Array:
        """(rows, W, C) of what was read last."""
        assert self._rows is not None
        return self._rows[top - self._top : top - self._top + rows]

    def stretch(self) -> tuple[float, float] | None:
        """What a deep image's pictures show as black and white, from parts spread over all of it; None for 8 bits."""
        assert self._rows is not None
        if self._rows.dtype == np.uint8:
            return None
        height, width = self.image.shape
        parts = [
            self.taken(self.image[top : top + SAMPLED, left : left + SAMPLED])
            for top in np.linspace(0, max(height - SAMPLED, 0), SAMPLES, dtype=int).tolist()
            for left in np.linspace(0, max(width - SAMPLED, 0), SAMPLES, dtype=int).tolist()
        ]
        return stretch(np.concatenate([part.reshape(1, -1, part.shape[2]) for part in parts], axis=1))


def _channels_first(pixels: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
