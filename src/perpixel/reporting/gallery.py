"""The same samples as every run predicts them, small enough to live inside a page."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from perpixel.reporting.pictures.strip import RGB, panels
from perpixel.tracking.runs import Run

MOST_RUNS, MOST_SAMPLES = 12, 6
"""What a page shows at most; the runs come in the order of the leaderboard, so the best ones stay."""

SIDE = 320
"""Longer side of an embedded picture, in pixels."""


@dataclass(frozen=True)
class Prediction:
    """What a run made of a sample: two pictures as data URIs."""

    prediction: str
    errors: str


@dataclass(frozen=True)
class Row:
    """A sample: input and truth as data URIs, and per run its prediction, None where it has no picture."""

    sample: str
    input: str
    truth: str
    predictions: tuple[Prediction | None, ...]


@dataclass(frozen=True)
class Gallery:
    """Rows of samples over columns of runs.

    Attributes:
        runs: the columns.
        rows: the samples.
        left_out: how many more runs have pictures than are shown.
    """

    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    left_out: int


def gallery(runs: Sequence[Run]) -> Gallery:
    """Collect the overlays of the first runs that have any, for the samples that most of them share."""
    pictured = [run for run in runs if run.overlays]
    shown = tuple(pictured[:MOST_RUNS])
    strips = [run.overlays for run in shown]
    counted = Counter(sample for found in strips for sample in found)
    samples = sorted(counted, key=lambda sample: (-counted[sample], sample))[:MOST_SAMPLES]
    rows = (_row(sample, [found.get(sample) for found in strips]) for sample in sorted(samples))
    return Gallery(shown, tuple(row for row in rows if row), len(pictured) - len(shown))


def embedded(path: Path, longest: int) -> str | None:
    """A picture file as a data URI, at most ``longest`` pixels on its longer side; None where it cannot be read."""
    picture = _read(path)
    return None if picture is None else _photo(picture, longest)


def _row(sample: str, paths: Sequence[Path | None]) -> Row | None:
    strips = [None if path is None else _read(path) for path in paths]
    first = next((strip for strip in strips if strip is not None), None)
    if first is None:
        return None
    image, truth, *_ = panels(first)
    return Row(sample, _photo(image), _flat(truth), tuple(None if strip is None else _cell(strip) for strip in strips))


def _cell(strip: RGB) -> Prediction:
    _, _, prediction, errors = panels(strip)
    return Prediction(_flat(prediction), _photo(errors))


def _read(path: Path) -> RGB | None:
    """The picture, or None: a job may be writing it at this moment."""
    try:
        return np.asarray(Image.open(path).convert("RGB"))
    except (OSError, SyntaxError):
        return None


def _photo(picture: RGB, longest: int = SIDE) -> str:
    """Photographs are shrunk smoothly and compressed with loss."""
    return _uri(_shrunk(picture, longest, Image.Resampling.LANCZOS), "webp", quality=82)


def _flat(mask: RGB) -> str:
    """Flat colours are shrunk by nearest, so that no colour appears that is no class, and kept exactly."""
    shrunk = _shrunk(mask, SIDE, Image.Resampling.NEAREST)
    return _uri(shrunk, "webp", lossless=True)


def _shrunk(picture: RGB, longest: int, resampling: Image.Resampling) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(picture))
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), resampling)


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
