"""How often 95 % intervals hold the truth, in simulated data whose truth is known.

python experiments/intervals/coverage.py [repeats] > experiments/intervals/results.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator

import numpy as np

from perpixel.uncertainty import Conditions, Measured, PerImage, compare, contrast, intervals, mean_weights
from perpixel.uncertainty.per_image import iou, sums_of, with_mean

PIXELS = 64 * 64
SHARES = np.array([0.55, 0.25, 0.15, 0.05])
CLASSES = ("road", "field", "house", "pond")
RECALL = np.array([1.8, 1.0, 0.4, -0.4])  # logits
GROUP_SD, IMAGE_SD = 0.6, 0.5  # of the recalls' logits
SEED_SD = 0.1
POPULATION = 400_000


def simulate(rng: np.random.Generator, of: np.ndarray, better: float = 0.0) -> np.ndarray:
    """(N, 3, C) counts of images in groups that differ in what they show and in how hard they are.

    Args:
        of: (N,) group of each image.
        better: added to the logit of all recalls.
    """
    return predicted(rng, *pictured(rng, of), better)


def pictured(rng: np.random.Generator, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, C) pixels of the truth, and (N, C) logits of how well each class can be found."""
    groups = of.max() + 1
    tilt = 0.7 * rng.standard_normal((groups, 4))[of] + 0.7 * rng.standard_normal((len(of), 4))
    shares = SHARES * np.exp(tilt)
    shares[:, 3] *= rng.random(len(of)) < 0.3  # most images have no pond
    truth = rng.multinomial(PIXELS, shares / shares.sum(1, keepdims=True))
    logits = RECALL + GROUP_SD * rng.standard_normal((groups, 1))[of] + IMAGE_SD * rng.standard_normal((len(of), 4))
    return truth, logits


def predicted(rng: np.random.Generator, truth: np.ndarray, logits: np.ndarray, better: float) -> np.ndarray:
    own = logits + better + 0.2 * rng.standard_normal(logits.shape)
    tp = rng.binomial(truth, 1 / (1 + np.exp(-own)))
    missed = truth - tp
    fp = rng.binomial(missed.sum(1, keepdims=True), SHARES[::-1] / 2 + 0.125)  # what is missed is called something
    return np.stack([tp, fp, missed], 1)


def as_images(counts: np.ndarray, of: np.ndarray | None) -> PerImage:
    names = tuple(f"{place:05}" for place in range(len(counts)))
    known = {} if of is None else {name: {"group": f"{group:04}"} for name, group in zip(names, of, strict=True)}
    sizes = np.full((len(counts), 2), 64)
    return PerImage.of({"names": names, "counts": counts, "sizes": sizes}, CLASSES, Conditions(known))


def groups_of(rng: np.random.Generator, number: int) -> np.ndarray:
    """Groups of 1 to 12 images, most of them small."""
    return np.repeat(np.arange(number), rng.geometric(0.3, number).clip(1, 12))


def truth(better: float = 0.0) -> np.ndarray:
    """(1 + C,) mIoU and IoU of the population: ever more images of ever more groups."""
    rng = np.random.default_rng(12345)
    counts = simulate(rng, np.arange(POPULATION), better)
    return with_mean(iou(sums_of(counts.sum(0))))


def scored(
    draw: Callable[[np.random.Generator], PerImage], repeats: int, true: np.ndarray
) -> Iterator[tuple[str, float, float, str]]:
    """Coverage and mean length of mIoU and of the classes together."""
    held: dict[str, list[bool]] = {"mIoU": [], "IoU of classes": []}
    lengths: dict[str, list[float]] = {"mIoU": [], "IoU of classes": []}
    method = ""
    for repeat in range(repeats):
        found = intervals(draw(np.random.default_rng(repeat)), resamples=4000)
        method = found["mIoU"].method
        for (name, one), value in zip(found.items(), true, strict=True):
            if one.low is not None and one.high is not None:
                kind = name if name == "mIoU" else "IoU of classes"
                held[kind].append(one.low <= value <= one.high)
                lengths[kind].append(one.high - one.low)
    for kind in held:
        yield kind, float(np.mean(held[kind])), float(np.mean(lengths[kind])), method


def single_runs(repeats: int) -> Iterator[dict[str, object]]:
    true = truth()
    for number in (20, 60, 149, 150, 500):

        def images(rng: np.random.Generator, number: int = number) -> PerImage:
            return as_images(simulate(rng, np.arange(number)), None)

        for kind, share, length, method in scored(images, repeats, true):
            yield row("independent images", f"{number} images", kind, method, share, length)
    for number in (6, 12, 30, 60, 150, 300):

        def grouped(rng: np.random.Generator, number: int = number) -> PerImage:
            of = groups_of(rng, number)
            return as_images(simulate(rng, of), of)

        for kind, share, length, method in scored(grouped, repeats, true):
            yield row("images in groups", f"{number} groups", kind, method, share, length)

    def ungrouped(rng: np.random.Generator) -> PerImage:
        return as_images(simulate(rng, groups_of(rng, 60)), None)

    for kind, share, length, method in scored(ungrouped, repeats, true):
        yield row("groups not known", "60 groups", kind, method, share, length)


def pairs(repeats: int) -> Iterator[dict[str, object]]:
    """The difference of two runs on the same images, and how often equal ones are told apart."""
    true = float(truth(0.1)[0] - truth()[0])
    for number in (12, 60, 150):
        held, lengths, alarms = [], [], []
        for repeat in range(repeats):
            rng = np.random.default_rng(repeat)
            of = groups_of(rng, number)
            seen = pictured(rng, of)
            base, same, better = (as_images(predicted(rng, *seen, b), of) for b in (0.0, 0.0, 0.1))
            found = compare(better, base, resamples=500)
            assert found.low is not None
            assert found.high is not None
            held.append(found.low <= true <= found.high)
            lengths.append(found.high - found.low)
            alarms.append((compare(same, base, resamples=500).p or 1) < 0.05)
        yield row("difference of two runs", f"{number} groups", "mIoU", "jackknife", np.mean(held), np.mean(lengths))
        yield row("equal runs called different", f"{number} groups", "mIoU", "permutation", np.mean(alarms), "")


def seeds(repeats: int) -> Iterator[dict[str, object]]:
    """The mean over seeds: the truth averages over the seeds' spread, too."""
    draws = SEED_SD * np.random.default_rng(1).standard_normal(12)
    true = float(np.mean([truth(float(one))[0] for one in (draws - draws.mean()) * SEED_SD / draws.std()]))
    for number in (2, 3, 5):
        held, lengths = [], []
        for repeat in range(repeats):
            rng = np.random.default_rng(repeat)
            of = groups_of(rng, 60)
            seen = pictured(rng, of)
            runs = {
                seed: as_images(predicted(rng, *seen, SEED_SD * float(rng.standard_normal())), of)
                for seed in range(number)
            }
            found = contrast(Measured(runs), mean_weights(list(runs)), dict.fromkeys(runs, 0), is_score=True)
            assert found.low is not None
            assert found.high is not None
            held.append(found.low <= true <= found.high)
            lengths.append(found.high - found.low)
        yield row("mean over seeds", f"{number} seeds, 60 groups", "mIoU", "jackknife", np.mean(held), np.mean(lengths))


def row(data: str, size: str, score: str, method: str, share: float, length: float | str) -> dict[str, object]:
    told = f"{length:.4f}" if isinstance(length, float) else length
    return {"data": data, "size": size, "score": score, "method": method, "share": f"{share:.3f}", "length": told}


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    writer = csv.DictWriter(sys.stdout, ["data", "size", "score", "method", "share", "length"], lineterminator="\n")
    writer.writeheader()
    for study in (single_runs, pairs, seeds):
        for found in study(repeats):
            writer.writerow(found)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
