"""INT8: weights and activations in 8 bits, their ranges measured on training images."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from perpixel.bundle import ModelBundle
from perpixel.export.base import Bound, Exporter
from perpixel.export.openvino_ir import convert, save
from perpixel.inference.backend import Backend
from perpixel.inference.openvino_backend import OpenVinoBackend

log = logging.getLogger(__name__)


class Int8(Exporter):
    """OpenVINO IR with 8-bit convolutions: static post-training quantisation by NNCF.

    Training images are streamed one by one through the network, so memory does not grow with their number. If fewer
    pixels than ``min_agreement`` then keep their label, NNCF's accuracy control puts the layers that cost most back to
    float, one after the other, until they do.

    Args:
        samples: training images that ranges are measured on.
        preset: ``mixed`` (signed weights, activations in their own range) or ``performance`` (all symmetric, faster on
            processors without VNNI).
        max_miou_drop: see :class:`Bound`, points.
        min_agreement: least share of pixels with the original's label, on the calibration images (accuracy control),
            and in the gate where the labelled images are too few to measure mIoU.
        accuracy_control: let NNCF put layers back to float.
        size: see :class:`Exporter`.
    """

    format = "int8"
    file = "model.xml"
    needs = ("onnx", "onnxscript", "openvino", "nncf")
    extra = "openvino"

    def __init__(
        self,
        samples: int = 128,
        preset: Literal["mixed", "performance"] = "mixed",
        max_miou_drop: float = 0.5,
        min_agreement: float = 0.99,
        accuracy_control: bool = True,
        size: list[int] | None = None,
    ) -> None:
        super().__init__(size)
        if samples < 1:
            raise ValueError(f"export.samples={samples}: ranges are measured on 1 image or more.")
        self.samples = samples
        self.preset = preset
        self.max_miou_drop = max_miou_drop
        self.min_agreement = min_agreement
        self.accuracy_control = accuracy_control

    @property
    def bound(self) -> Bound:
        return Bound(None, 0.0, self.max_miou_drop, self.min_agreement)

    def export(self, bundle: ModelBundle, out: Path, calibration: Iterable[Tensor]) -> Backend:
        os.environ.setdefault("NNCF_CI", "1")  # read at its import: it would report its use to its makers
        import nncf

        nncf.set_log_level(logging.ERROR)
        size = self.fixed_size(bundle)
        model, _ = convert(bundle, size)
        images = _First(calibration, self.samples)
        settings: dict[str, Any] = {"preset": nncf.QuantizationPreset(self.preset), "subset_size": self.samples}
        dataset = nncf.Dataset(images, lambda image: image.numpy())
        quantised = nncf.quantize(model.clone(), dataset, **settings)
        if self.accuracy_control:
            original = OpenVinoBackend(model.clone(), size)
            share = _agreement(OpenVinoBackend(quantised.clone(), size), original, images)
            log.info("int8: %.3f %% of the calibration pixels keep their label", 100 * share)
            if share < self.min_agreement:
                log.info("that is too few: layers go back to float until %.3f %% do", 100 * self.min_agreement)
                quantised = nncf.quantize_with_accuracy_control(
                    model.clone(),
                    dataset,
                    nncf.Dataset(images, lambda image: image),
                    lambda compiled, found: _agreement(_Compiled(compiled), original, found),
                    max_drop=1 - self.min_agreement,
                    **settings,
                )
        save(quantised, out / self.file, bundle)
        return OpenVinoBackend(out / self.file, size)


class _First:
    """The first items of an iterable that can be read several times."""

    def __init__(self, items: Iterable[Tensor], count: int) -> None:
        self.items = items
        self.count = count

    def __iter__(self) -> Iterator[Tensor]:
        return islice(iter(self.items), self.count)


class _Compiled:
    """A compiled OpenVINO model, as NNCF hands it over."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def __call__(self, images: Tensor) -> Tensor:
        return torch.from_numpy(next(iter(self.compiled(images.numpy()).values())).copy())


def _agreement(one: Backend, other: Backend, images: Iterable[Tensor]) -> float:
    """Share of pixels to which both give the same label."""
    same = pixels = 0
    for image in images:
        equal = one(image).argmax(dim=1) == other(image).argmax(dim=1)
        same, pixels = same + int(equal.sum()), pixels + equal.numel()
    return same / max(pixels, 1)
