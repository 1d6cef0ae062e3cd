"""What a model must beat on data=earth: the most frequent class everywhere, and the most frequent class of each colour.

python experiments/decoder_loss/baselines.py
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from perpixel.config import build, compose
from perpixel.data import DataSource
from perpixel.metrics import SegmentationMetrics

BITS = 5  # per channel: 32768 colours, most of them seen often enough to have a reliable favourite

Windows = Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]


def windows(source: DataSource, split: str) -> Windows:
    part = source.split(split)  # type: ignore[arg-type]
    for index in range(len(part)):
        sample = part.read(index, np.random.default_rng(index))
        yield np.asarray(sample.image, np.uint8), np.asarray(sample.mask, np.uint8)


def colours(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    coarse = image.astype(np.int64) >> (8 - BITS)
    return (coarse[..., 0] << 2 * BITS) | (coarse[..., 1] << BITS) | coarse[..., 2]


def favourites(source: DataSource) -> tuple[npt.NDArray[np.int64], int]:
    """The most frequent class of every colour in the training windows, and of all pixels."""
    classes = source.labels.num_classes
    counts = np.zeros((1 << 3 * BITS, classes), np.int64)
    for image, mask in windows(source, "train"):
        np.add.at(counts, (colours(image).ravel(), mask.ravel()), 1)
    majority = int(counts.sum(0).argmax())
    return np.where(counts.any(1), counts.argmax(1), majority), majority


def main() -> None:
    cfg = compose(["data=earth", "data.source.windows_per_epoch=2000"]).cfg
    source = build(cfg.data.source, DataSource, "data.source")  # type: ignore[type-abstract]
    table, majority = favourites(source)
    print("| predictor | val mIoU | test mIoU |\n|---|---|---|")
    rows = {"always the majority class": lambda image: np.full(image.shape[:2], majority)}
    rows["per-pixel colour table"] = lambda image: table[colours(image)]
    for name, predict in rows.items():
        scores = []
        for split in ("val", "test"):
            metric = SegmentationMetrics(source.labels)
            for image, mask in windows(source, split):
                metric.update(torch.from_numpy(predict(image))[None], torch.from_numpy(mask.astype(np.int64))[None])
            scores.append(float(metric.compute()["mIoU"]))
        print(f"| {name} | {scores[0]:.3f} | {scores[1]:.3f} |")


if __name__ == "__main__":
    main()
