"""From saved models to a predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from perpixel.bundle import ModelBundle, Predictor
from perpixel.inference.backend import Ensemble, TorchBackend
from perpixel.inference.refine import Refinement
from perpixel.inference.sliding_window import SlidingWindow
from perpixel.spec import ModelSpec

AGREE = ("labels", "in_channels", "image_dtype")
"""What the members of an ensemble must share."""


def load_predictor(
    paths: Sequence[Path],
    device: str = "auto",
    precision: str | None = None,
    window: int | SlidingWindow | None = None,
    tta: Sequence[str | float] = (),
    refine: Refinement | None = None,
) -> Predictor:
    """See :func:`perpixel.load`.

    Args:
        paths: one model, or several that are averaged.
        device: ``auto`` takes a GPU if there is one.
        precision: see :class:`TorchBackend`.
        window, tta, refine: see :class:`Predictor`.

    Raises:
        ValueError: no path is given, a model cannot be loaded, or the models differ.
    """
    if not paths:
        raise ValueError("no model is given: name a run directory or its model/ folder.")
    place = usable_device(device)
    bundles = [ModelBundle.load(path) for path in paths]
    spec = bundles[0].spec
    for path, bundle in zip(paths[1:], bundles[1:], strict=True):
        _refuse_other(spec, bundle.spec, paths[0], path)
    backends = [TorchBackend(bundle.model, bundle.spec, place, precision) for bundle in bundles]
    return Predictor(backends[0] if len(backends) == 1 else Ensemble(backends), spec, window, tta, refine)


def usable_device(device: str) -> str:
    """The device to use.

    Raises:
        ValueError: it does not exist here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={device} cannot be used here ({error}): use cpu, or auto.") from None
    return device


def _refuse_other(first: ModelSpec, other: ModelSpec, first_path: Path, path: Path) -> None:
    for name in AGREE:
        if getattr(first, name) != getattr(other, name):
            raise ValueError(
                f"an ensemble needs models of the same classes and images, but '{first_path}' and '{path}' differ in "
                f"{name}: {getattr(first, name)} and {getattr(other, name)}."
            )
