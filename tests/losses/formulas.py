"""Every loss's formula as its paper writes it, in NumPy and float64, sharing nothing with the losses themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

Array = npt.NDArray[np.float64]
IGNORE = 255


@dataclass
class Case:
    """A batch, and the weights it is judged with.

    Attributes:
        logits: (B, C, H, W).
        target: (B, H, W).
        classes: (C,) class weights w.
        pixels: (B, H, W) pixel weights m.
    """

    logits: Array
    target: npt.NDArray[np.int64]
    classes: Array
    pixels: Array

    @property
    def p(self) -> Array:
        """(B, C, H, W) softmax."""
        powers = np.exp(self.logits - self.logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    @property
    def flat(self) -> tuple[Array, npt.NDArray[np.int64], Array]:
        """Of the labelled pixels: p (N, C), y (N,), m (N,)."""
        known = self.target != IGNORE
        return np.moveaxis(self.p, 1, 3)[known], self.target[known], self.pixels[known]

    @property
    def images(self) -> list[Case]:
        """Each image as a batch of its own."""
        whole = self.logits, self.target, self.pixels
        return [Case(x[None], y[None], self.classes, m[None]) for x, y, m in zip(*whole, strict=True)]


Formula = Callable[[Case], float]
Score = Callable[[Array, Array, Array], Array]


def cross_entropy(case: Case, smoothing: float = 0.0) -> float:
    """Szegedy et al. 2016, section 7: H(q', p) with q' = (1 − ε)·δ + ε/C."""
    p, y, m = case.flat
    w, kinds = case.classes, p.shape[1]
    own = -np.log(p[range(len(y)), y]) * w[y]
    spread = -(np.log(p) * w).sum(1) / kinds
    return float((m * ((1 - smoothing) * own + smoothing * spread)).sum() / (m * w[y]).sum())


def focal(case: Case, gamma: float) -> float:
    """Lin et al. 2017, equation 5: −α(1 − p)^γ·log p."""
    p, y, m = case.flat
    own, alpha = p[range(len(y)), y], case.classes[y]
    return float((m * alpha * -((1 - own) ** gamma) * np.log(own)).sum() / (m * alpha).sum())


def ohem(case: Case, threshold: float, min_kept: float) -> float:
    """Cross-entropy over the pixels under the threshold, or else over the least certain share."""
    p, y, m = case.flat
    own = p[range(len(y)), y]
    least = sorted(range(len(y)), key=lambda i: own[i])[: int(np.ceil(min_kept * len(y)))]
    hard = np.array(sorted({*least, *(i for i in range(len(y)) if own[i] <= threshold)}))
    weight = m[hard] * case.classes[y[hard]]
    return float((weight * -np.log(own[hard])).sum() / weight.sum())


def overlap(case: Case, score: Score, power: float = 1.0, per_image: bool = False) -> float:
    """Mean over the classes present of (1 − score(TP, FP, FN))^power, the counts soft."""
    losses, weights = [], []
    for part in case.images if per_image else [case]:
        p, y, m = part.flat
        for c in np.unique(y):
            is_c = y == c
            counts = (m * is_c * p[:, c]).sum(), (m * ~is_c * p[:, c]).sum(), (m * is_c * (1 - p[:, c])).sum()
            losses.append((1 - score(*counts)) ** power)
            weights.append(case.classes[c])
    return float(np.average(losses, weights=weights))


def dice(tp: Array, fp: Array, fn: Array, smooth: float = 0.0) -> Array:
    """Sudre et al. 2017: 2TP / (2TP + FP + FN)."""
    return (2 * tp + smooth) / (2 * tp + fp + fn + smooth)


def jaccard(tp: Array, fp: Array, fn: Array) -> Array:
    """Rahman & Wang 2016, equation 3: TP / (TP + FP + FN)."""
    return tp / (tp + fp + fn)


def tversky(tp: Array, fp: Array, fn: Array) -> Array:
    """Salehi et al. 2017, equation 3, with α = 0.3 and β = 0.7."""
    return tp / (tp + 0.3 * fp + 0.7 * fn)


def lovasz(case: Case) -> float:
    """Berman et al. 2018, algorithm 1, over the classes present."""
    p, y, _ = case.flat
    values = []
    for c in np.unique(y):
        errors = np.abs((y == c) - p[:, c])
        order = np.argsort(-errors)
        found = (y == c)[order]
        jaccards = 1 - (found.sum() - found.cumsum()) / (found.sum() + (~found).cumsum())
        values.append((errors[order] * np.diff(jaccards, prepend=0)).sum())
    return float(np.average(values, weights=case.classes[np.unique(y)]))


def boundary(case: Case) -> float:
    """Kervadec et al. 2019, equation 5, summed over classes and averaged over the labelled pixels.

    The paper knows no ignored pixels: here they are of no class, neither of c nor of what surrounds it.
    """
    total = 0.0
    for p, y in zip(case.p, case.target, strict=True):
        for c in set(y[y != IGNORE]):
            inside, others = y == c, (y != c) & (y != IGNORE)
            if others.any():
                phi = distance_transform_edt(~inside) * ~inside - (distance_transform_edt(~others) - 1) * inside
                total += (p[c] * phi)[y != IGNORE].sum()
    return float(total / (case.target != IGNORE).sum())


def boundary_cross_entropy(case: Case) -> float:
    """Ronneberger et al. 2015, equation 2, with one distance, weight 4 and σ = 3."""
    losses = weights = 0.0
    for p, y, m in zip(case.p, case.target, case.pixels, strict=True):
        edges = [at for at in np.ndindex(y.shape) if _on_edge(y, *at)]
        for i, j in zip(*np.nonzero(y != IGNORE), strict=True):
            d2 = min(((i - a) ** 2 + (j - b) ** 2 for a, b in edges), default=np.inf)
            weight = m[i, j] * (1 + 4 * np.exp(-d2 / (2 * 3**2)))
            losses, weights = losses - weight * np.log(p[y[i, j], i, j]), weights + weight
    return float(losses / weights)


def _on_edge(y: npt.NDArray[np.int64], i: int, j: int) -> bool:
    around = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
    near = [y[a, b] for a, b in around if 0 <= a < y.shape[0] and 0 <= b < y.shape[1]]
    return bool(y[i, j] != IGNORE and any(n not in (y[i, j], IGNORE) for n in near))


FORMULAS: dict[str, Formula] = {
    "ce": cross_entropy,
    "ce_smooth": partial(cross_entropy, smoothing=0.1),
    "focal": partial(focal, gamma=2.0),
    "focal_half": partial(focal, gamma=0.5),
    "dice": partial(overlap, score=dice),
    "dice_per_image": partial(overlap, score=dice, per_image=True),
    "dice_smooth": partial(overlap, score=partial(dice, smooth=1.0)),
    "jaccard": partial(overlap, score=jaccard),
    "tversky": partial(overlap, score=tversky),
    "focal_tversky": partial(overlap, score=tversky, power=0.75),
    "lovasz": lovasz,
    "ohem": partial(ohem, threshold=0.7, min_kept=0.3),
    "boundary": boundary,
    "boundary_ce": boundary_cross_entropy,
    "ce_lovasz": lambda case: cross_entropy(case) + lovasz(case),
    "ce_dice": lambda case: cross_entropy(case) + 0.5 * overlap(case, dice),
    "ce_without_dice": cross_entropy,
    "boundary_sum": lambda case: overlap(case, dice) + 0.01 * boundary(case),  # as training begins
    "nested": lambda case: cross_entropy(case) + 0.5 * (overlap(case, dice) + 0.5 * focal(case, gamma=2.0)),
    "mask2former": cross_entropy,  # of per-pixel logits
}
"""By the names of the contract suite."""
