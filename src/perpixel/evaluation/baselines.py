"""Two guesses that need no network: a model that is not above both has learned nothing worth having.

``majority`` calls every pixel the training split's most frequent class. ``colour_table`` looks at a pixel's own values
alone: a table over the channels' values, counted on the training split, says which class such a value is most likely
(for one channel this is the best set of thresholds).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from perpixel.data.base import Array, DataSource, Sample, Split, SplitName
from perpixel.data.files.file_cache import remembered
from perpixel.data.files.statistics import evenly
from perpixel.data.hashing import digest
from perpixel.metrics.scores import scores

Counts = npt.NDArray[np.int64]
Baselines = dict[str, dict[str, dict[str, float | None]]]
"""By split and baseline (``majority``, ``colour_table``): ``mIoU`` and ``IoU/<class>``, None where undefined."""

SAMPLES = 256
"""Training samples that are counted at most, evenly spaced over the split."""

PIXELS = 2**16
"""Pixels of each that are counted at most, evenly spaced."""

CELLS = 2**15
"""Cells of the table at most: 256 levels of grey, 32 of each of three colours."""

MOST_CHANNELS = 8
"""Of more, so many are looked at, evenly spaced."""

_TRUST = 8.0
"""A cell's counts weigh as much as those of the coarser cell around it once it holds so many pixels."""

_COARSER = 4
_BALANCES = (0.0, 0.5, 1.0)


class ColourTable:
    """Class of a pixel by its own values.

    The levels of each channel are quantiles of the training pixels, so any depth will do. A cell with few pixels
    leans on a table of a fourth as many levels. Which class wins a cell may be weighed by the classes' shares to the
    power 0, ½ or 1; the one with the best mIoU on the counted pixels is taken.

    Args:
        samples: of the training split.
        num_classes: K.
    """

    def __init__(self, samples: Sequence[Sample], num_classes: int) -> None:
        parts = [_labelled(sample, num_classes, PIXELS) for sample in samples]
        values, classes = (np.concatenate(some) for some in zip(*parts, strict=True))
        self.channels = values.shape[1]
        levels = min(256, int(CELLS ** (1 / self.channels)))
        quantiles = np.linspace(0, 1, levels + 1)[1:-1]
        self.edges = [np.unique(np.quantile(values[:, c], quantiles)) for c in range(self.channels)]
        self.levels = [len(edges) + 1 for edges in self.edges]
        cells = self._cells(values)
        counts = np.zeros((int(np.prod(self.levels)), num_classes), np.int64)
        np.add.at(counts, (cells, classes), 1)
        self.majority = int(counts.sum(0).argmax())
        self.table = _decided(counts, self._likely(counts))

    def __call__(self, image: Array) -> npt.NDArray[np.int64]:
        """(H, W, C) → (H, W) classes."""
        values = _chosen(image).reshape(-1, self.channels)
        return np.asarray(self.table[self._cells(values)].reshape(image.shape[:2]))

    def _cells(self, values: Array) -> npt.NDArray[np.int64]:
        """(N, C) values → (N,) cells."""
        cell = np.zeros(len(values), np.int64)
        for channel, (edges, levels) in enumerate(zip(self.edges, self.levels, strict=True)):
            cell = cell * levels + np.searchsorted(edges, values[:, channel], side="right")
        return cell

    def _likely(self, counts: Counts) -> npt.NDArray[np.float64]:
        """(cells, K) counts → shares, each cell's leaning on the coarse cell around it, that one on the whole."""
        places = np.unravel_index(np.arange(len(counts)), self.levels)
        sizes = [-(-levels // _COARSER) for levels in self.levels]
        around = np.ravel_multi_index([place // _COARSER for place in places], sizes)
        coarse = np.zeros((int(np.prod(sizes)), counts.shape[1]))
        np.add.at(coarse, around, counts)
        whole = counts.sum(0) / max(counts.sum(), 1)
        return _leaning(counts.astype(float), _leaning(coarse, whole)[around])


def _leaning(counts: npt.NDArray[np.float64], prior: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray((counts + _TRUST * prior) / (counts.sum(1, keepdims=True) + _TRUST))


def _decided(counts: Counts, likely: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """(cells,) classes: of the ways to weigh, the one with the best mIoU on the counted pixels."""
    share = np.maximum(counts.sum(0) / max(counts.sum(), 1), 1e-12)
    tables = [np.argmax(likely / share**balance, axis=1) for balance in _BALANCES]
    return max(tables, key=lambda table: _miou(_confusion_of(counts, table)))


def _confusion_of(counts: Counts, table: npt.NDArray[np.int64]) -> Counts:
    confusion = np.zeros((counts.shape[1],) * 2, np.int64)
    np.add.at(confusion.T, table, counts)
    return confusion


def _miou(confusion: Counts) -> float:
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    return float((hits[union > 0] / union[union > 0]).mean())


def measure_baselines(source: DataSource, splits: Sequence[SplitName]) -> Baselines:
    """Scores of both guesses; measured once for the same data.

    Args:
        source: whose training split is counted; samples that cannot be read are passed over.
        splits: that are scored, every pixel of them.
    """
    key = digest("1", *(source.split(name).fingerprint() for name in ("train", *splits)), *splits, *source.labels.names)
    found: Baselines = json.loads(remembered("baselines", key, lambda: json.dumps(_measured(source, splits))))
    return found


def _measured(source: DataSource, splits: Sequence[SplitName]) -> Baselines:
    classes, training = source.labels.num_classes, source.split("train")
    counted = [_thinned(sample) for sample in _read(training, evenly(range(len(training)), SAMPLES))]
    if not any((sample.mask < classes).any() for sample in counted):
        return {}
    table = ColourTable(counted, classes)
    found: Baselines = {}
    for name in splits:
        majority, by_colour = (np.zeros((classes, classes), np.int64) for _ in range(2))
        for sample in _read(source.split(name), range(len(source.split(name)))):
            inside = sample.mask < classes
            truth = sample.mask[inside].astype(np.int64)
            majority[:, table.majority] += np.bincount(truth, minlength=classes)
            pairs = np.bincount(truth * classes + table(sample.image)[inside], minlength=classes**2)
            by_colour += pairs.reshape(classes, classes)
        tables = {"majority": majority, "colour_table": by_colour}
        found[name] = {guess: _scored(one, source.labels.names) for guess, one in tables.items()}
    return found


def _scored(confusion: Counts, names: tuple[str, ...]) -> dict[str, float | None]:
    values = {name: float(value) for name, value in scores(torch.from_numpy(confusion), names).items()}
    kept = {name: value for name, value in values.items() if name == "mIoU" or name.startswith("IoU/")}
    return {name: value if value == value else None for name, value in kept.items()}


def _read(split: Split, indices: Sequence[int]) -> Iterator[Sample]:
    """Samples that can be read: the faulty ones are named by the look at all files before training."""
    for index in indices:
        try:
            yield split.read(index, np.random.default_rng(index))
        except (ValueError, OSError):
            continue


def _thinned(sample: Sample) -> Sample:
    """Every n-th row and column, so that no more pixels are kept than are counted."""
    step = max(1, int((sample.mask.size / PIXELS) ** 0.5))
    return Sample(sample.image[::step, ::step].copy(), sample.mask[::step, ::step].copy(), sample.name)


def _labelled(sample: Sample, num_classes: int, most: int) -> tuple[Array, Array]:
    """(N, C) values and (N,) classes of a sample's labelled pixels, at most so many."""
    inside = sample.mask.ravel() < num_classes
    values = _chosen(sample.image).reshape(sample.mask.size, -1)[inside]
    step = -(-max(len(values), 1) // most)
    return values[::step], sample.mask.ravel()[inside][::step].astype(np.int64)


def _chosen(image: Array) -> Array:
    channels = image.shape[2]
    if channels <= MOST_CHANNELS:
        return image
    return image[..., np.linspace(0, channels - 1, MOST_CHANNELS).astype(int)]


def best_baseline(found: Mapping[str, Mapping[str, float | None]]) -> tuple[str, float] | None:
    """Name and mIoU of the better guess on a split, None where neither has one."""
    known = [(name, score) for name, values in found.items() if (score := values.get("mIoU")) is not None]
    return max(known, key=lambda one: one[1]) if known else None
