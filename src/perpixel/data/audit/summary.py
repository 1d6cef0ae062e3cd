"""From facts of samples to the audit's tables; everything here can be written as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.data.audit.sample import THIN, SampleFacts, Structures, no_structures
from perpixel.data.files.class_pixels import added_up
from perpixel.labels import LabelSpace
from perpixel.losses.weights import median_frequency

RARE = 0.001
MOSTLY = 0.5
UNEQUAL = 50
NAMED = 8
"""Classes that a line of advice names; of 150, nobody reads more."""

BRIGHTNESS_BINS = 10

Counts = npt.NDArray[np.int64]
Range = tuple[float, float]


def summary(facts: Sequence[SampleFacts], labels: LabelSpace) -> dict[str, Any]:
    """All tables of the audit."""
    scale = brightness_range(facts)
    return {
        "brightness_range": list(scale),
        "splits": splits(facts, scale),
        "classes": classes(facts, labels),
        "coverage": coverage(facts, labels, scale),
        "together": together(facts, labels.num_classes),
        "sizes": sizes(facts),
    }


def brightness_range(facts: Sequence[SampleFacts]) -> Range:
    """The stored values that count as black and white: of 8 bits 0 and 255; deeper images rarely fill their depth, so
    theirs reach to the mean of the brightest, from 0 or from the mean of the darkest below it.
    """
    if not any(fact.deep for fact in facts):
        return 0.0, 255.0
    means = [fact.brightness for fact in facts]
    return min(0.0, *means), max(means)


def splits(facts: Sequence[SampleFacts], scale: Range) -> dict[str, dict[str, Any]]:
    """Per split: samples, pixels, the unlabelled share, brightness."""
    return {name: _split(part, scale) for name, part in _by(facts, "split").items()}


def classes(facts: Sequence[SampleFacts], labels: LabelSpace) -> list[dict[str, Any]]:
    """Per class: shares of pixels and samples in each split, its structures, and a suggested weight.

    ``small`` and ``thin`` are the shares of the class's pixels that lie in such structures.
    """
    parts = _by(facts, "split")
    weights = median_frequency(added_up(_stack(parts.get("train", []), "pixels", labels.num_classes)))
    _, areas, thicknesses, small, thin = _structures(facts, labels.num_classes)
    pixels = _stack(facts, "pixels", labels.num_classes).sum(axis=0)
    rows = []
    for index, name in enumerate(labels.names):
        rows.append(
            {
                "name": name,
                "colour": list(labels.palette[index]),
                "pixels": {split: _share_of_pixels(part, index) for split, part in parts.items()},
                "samples": {split: _share_of_samples(part, index) for split, part in parts.items()},
                "structures": int(areas[index].sum()),
                "small": _ratio(int(small[index]), int(pixels[index])),
                "thin": _ratio(int(thin[index]), int(pixels[index])),
                "areas": areas[index].tolist(),
                "thicknesses": thicknesses[index].tolist(),
                "weight": round(weights[index], 3) if weights[index] else None,
            }
        )
    return rows


def coverage(facts: Sequence[SampleFacts], labels: LabelSpace, scale: Range) -> dict[str, dict[str, dict[str, Any]]]:
    """Per condition (group, camera, weather) and value: samples, sizes, brightness, and how many show each class."""
    parts: dict[str, dict[str, list[SampleFacts]]] = defaultdict(lambda: defaultdict(list))
    for fact in facts:
        for condition, value in fact.conditions.items():
            parts[condition][value].append(fact)
    return {
        condition: {value: _covered(part, labels, scale) for value, part in sorted(values.items())}
        for condition, values in parts.items()
    }


def sizes(facts: Sequence[SampleFacts]) -> dict[str, int]:
    """How many samples have which size, H×W; the twelve most frequent."""
    return dict(Counter(f"{height}×{width}" for height, width in (f.shape for f in facts)).most_common(12))


def together(facts: Sequence[SampleFacts], num_classes: int) -> list[list[float]]:
    """(classes, classes): of the samples that show the row's class, the share that shows the column's too."""
    shown = (_stack(facts, "pixels", num_classes) > 0).astype(np.int64)
    both = shown.T @ shown
    alone = np.maximum(np.diag(both), 1)
    return np.round(both / alone[:, None], 3).tolist()  # type: ignore[no-any-return]


def advice(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the tables say about training, in words; nothing where they are empty."""
    if not any(row["pixels"] for row in rows):
        return []
    train = {row["name"]: row["pixels"].get("train", 0.0) for row in rows}
    unseen = [row["name"] for row in rows if train[row["name"]] == 0.0]
    rare = [row["name"] for row in rows if 0 < train[row["name"]] < RARE]
    unscored = [row["name"] for row in rows if train[row["name"]] > 0 and 0.0 in row["pixels"].values()]
    thin = [row["name"] for row in rows if row["thin"] > MOSTLY]
    shares = {name: share for name, share in train.items() if share > 0}
    found = {
        "never in the training split, so they cannot be learnt": unseen,
        f"less than {RARE:.1%} of the training pixels: weigh the loss, or set augment.focus": rare,
        "missing from a split that scores: divide by class content (data=folder: data.source.stratify=true)": unscored,
        f"mostly at most {THIN} pixels thick: do not scale the images down": thin,
    }
    said = [f"{named(names)}: {what}." for what, names in found.items() if names]
    if shares and max(shares.values()) > UNEQUAL * min(shares.values()):
        most, least = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
        said.append(
            f"{most} has {shares[most] / shares[least]:,.0f} times the training pixels of {least}: try "
            "loss.class_weights=median_frequency (the weights in the table), or a loss that counts regions (loss=dice)."
        )
    return said


def named(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = [f"…and {len(names) - NAMED} more"] if len(names) > NAMED else []
    return ", ".join([*names[:NAMED], *more])


def _split(part: Sequence[SampleFacts], scale: Range) -> dict[str, Any]:
    total = sum(f.shape[0] * f.shape[1] for f in part)
    weights = [f.weight for f in part if f.weight is not None]
    return {
        "samples": len(part),
        "megapixels": round(total / 1e6, 2),
        "unlabelled": _ratio(sum(f.unlabelled for f in part), total),
        "weight": round(float(np.mean(weights)), 3) if weights else None,
        "sizes": sizes(part),
        **_brightness(part, scale),
    }


def _covered(part: Sequence[SampleFacts], labels: LabelSpace, scale: Range) -> dict[str, Any]:
    shown = np.count_nonzero(np.stack([f.pixels for f in part]), axis=0)
    return {
        "samples": len(part),
        "splits": sorted({f.split for f in part}),
        "sizes": sizes(part),
        **_brightness(part, scale),
        "shows": dict(zip(labels.names, shown.tolist(), strict=True)),
    }


def _brightness(part: Sequence[SampleFacts], scale: Range) -> dict[str, Any]:
    """The mean as a part of the range, and how many samples lie in each tenth of it."""
    black, white = scale
    values = (np.array([fact.brightness for fact in part]) - black) / max(white - black, 1e-12)
    bins = np.histogram(values.clip(0, 1), BRIGHTNESS_BINS, (0, 1))[0]
    return {"brightness": round(float(values.mean()), 3), "brightness_tenths": bins.tolist()}


def _structures(facts: Sequence[SampleFacts], num_classes: int) -> Structures:
    """The sums over samples, for all classes; zero where there are none."""
    total = no_structures(np.arange(num_classes))
    for fact in facts:
        classes, *counts = fact.structures
        for whole, part in zip(total[1:], counts, strict=True):
            whole[classes] += part
    return total


def _by(facts: Sequence[SampleFacts], attribute: str) -> dict[str, list[SampleFacts]]:
    parts: dict[str, list[SampleFacts]] = defaultdict(list)
    for fact in facts:
        parts[getattr(fact, attribute)].append(fact)
    return parts


def _stack(part: Sequence[SampleFacts], attribute: str, num_classes: int) -> Counts:
    return np.stack([getattr(f, attribute) for f in part]) if part else np.zeros((0, num_classes), np.int64)


def _share_of_pixels(part: Sequence[SampleFacts], index: int) -> float:
    return _ratio(sum(int(f.pixels[index]) for f in part), sum(int(f.pixels.sum()) for f in part))


def _share_of_samples(part: Sequence[SampleFacts], index: int) -> float:
    return _ratio(sum(bool(f.pixels[index]) for f in part), len(part))


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
