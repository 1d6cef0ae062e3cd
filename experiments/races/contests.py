"""Who races whom, at what, on which data, and how much faster ours must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import peers
import torch
import torch.nn.functional as F
from torch import Tensor

from perpixel.labels import LabelSpace
from perpixel.losses import CrossEntropy, Dice, Focal, Lovasz, Sum
from perpixel.metrics import SegmentationMetrics

Contestant = Callable[[int, torch.device], peers.Work]
"""Makes the work for a number of classes on a device."""

READ, ONE_PASS, BOTH_WAYS = 4.0, 8.0, 12.0
"""Bytes a logit that must move: read once; or read once and its gradient written, where a pixel's slope is its own
affair and the forward pass could write it; or read twice and its gradient written, where it hangs on sums over all."""
LARGE, LARGE_MANY, MANY = (8, 19, 512, 512), (8, 150, 512, 512), (2, 150, 256, 256)
TRAINING, SMALL = (4, 19, 512, 512), (2, 19, 256, 256)


@dataclass(frozen=True)
class Race:
    """One piece of work for ours and for others.

    Attributes:
        name: what is done.
        shape: (B, C, H, W) of the logits, C classes.
        ours: perpixel's.
        others: whom it races, by name.
        target: the ratio (our time over the fastest other's) to stay under; None where none was set.
        bytes_per_logit: that must move between memory and processor.
        labels: dtype of the label maps, where those are given instead of logits.
        memory: the ratio of peak memories to stay under, if any.
        slow: others take seconds or more, so that they are not run once more beforehand, and for their peak memory on
            one kind of masks only.
    """

    name: str
    shape: tuple[int, int, int, int]
    ours: Contestant
    others: dict[str, Contestant]
    target: float | None
    bytes_per_logit: float
    labels: torch.dtype | None = None
    memory: float | None = None
    slow: bool = False

    @property
    def contestants(self) -> dict[str, Contestant]:
        return {"ours": self.ours, **self.others}

    @property
    def bytes_moved(self) -> float:
        images, classes, height, width = self.shape
        return images * classes * height * width * self.bytes_per_logit


def metric(classes: int, device: torch.device) -> peers.Work:
    space = LabelSpace(tuple(map(str, range(classes))), ((0, 0, 0),) * classes)
    ours = SegmentationMetrics(space).to(device)

    def work(prediction: Tensor, target: Tensor) -> Tensor:
        ours.update(prediction, target)
        return ours.confusion

    return work


def deterministic_metric(classes: int, device: torch.device) -> peers.Work:
    work = metric(classes, device)

    def strictly(prediction: Tensor, target: Tensor) -> object:
        torch.use_deterministic_algorithms(True)
        counts = work(prediction, target)
        torch.use_deterministic_algorithms(False)
        return counts

    return strictly


def ours(loss: Callable[[], Callable[[Tensor, Tensor], Tensor]]) -> Contestant:
    return lambda classes, device: peers.trained(loss())


def ce_dice() -> Sum:
    return Sum([CrossEntropy(), Dice()], [1.0, 1.0])


def confusion(labels: torch.dtype, target: float) -> Race:
    others: dict[str, Contestant] = {
        "torchmetrics, checking": peers.torchmetrics_confusion(validate=True),
        "torchmetrics, not checking": peers.torchmetrics_confusion(validate=False),
        "smp get_stats": peers.smp_stats,
        "histc": peers.histc,
    }
    name = f"confusion, {str(labels).removeprefix('torch.')} maps"
    return Race(name, LARGE, metric, others, target, 2 * labels.itemsize / LARGE[1], labels)


def deterministic(labels: torch.dtype) -> Race:
    """No slower: a twentieth is left to chance."""
    name = f"confusion, {str(labels).removeprefix('torch.')} maps, deterministic mode"
    others: dict[str, Contestant] = {"ours, mode off": metric}
    return Race(name, LARGE, deterministic_metric, others, 1.05, 2 * labels.itemsize / LARGE[1], labels)


def many_classes(labels: torch.dtype) -> Race:
    name = f"confusion, 150 classes, {str(labels).removeprefix('torch.')} maps"
    others: dict[str, Contestant] = {"torchmetrics MeanIoU": peers.torchmetrics_mean_iou}
    moved = 2 * labels.itemsize / LARGE_MANY[1]
    return Race(name, LARGE_MANY, metric, others, 1 / 100, moved, labels, slow=True)


TORCH: dict[str, Contestant] = {"torch cross_entropy alone": peers.torch_cross_entropy}
LOGITS: dict[str, Contestant] = {
    "torchmetrics JaccardIndex": peers.torchmetrics_jaccard,
    "smp get_stats": peers.smp_stats,
}
PLAIN: dict[str, Contestant] = {"argmax + bincount": peers.argmax_bincount}
RACES = [
    Race("metric update from logits", LARGE, metric, LOGITS, 0.35, READ),
    Race("metric update from logits, against plain torch", LARGE, metric, PLAIN, None, READ),
    confusion(torch.uint8, 1 / 5),
    confusion(torch.int64, 1 / 1.3),
    deterministic(torch.uint8),
    deterministic(torch.int64),
    many_classes(torch.uint8),
    many_classes(torch.int64),
    Race("Dice", TRAINING, ours(Dice), {"smp": peers.smp_loss("Dice")}, 0.4, BOTH_WAYS, memory=0.45),
    Race("Lovász", MANY, ours(Lovasz), {"smp": peers.smp_loss("Lovasz")}, 0.1, BOTH_WAYS, slow=True),
    Race("Focal", MANY, ours(Focal), {"smp": peers.smp_loss("Focal")}, 0.05, ONE_PASS, slow=True),
    Race("ce_dice", TRAINING, ours(ce_dice), TORCH, 1.6, BOTH_WAYS),
    Race("ce_dice, small batch", SMALL, ours(ce_dice), TORCH, None, BOTH_WAYS),
]
if find_spec("monai"):  # the extra "peers"
    RACES += [
        Race("Dice, against MONAI", TRAINING, ours(Dice), {"MONAI": peers.monai_dice}, None, BOTH_WAYS),
        Race("Focal, against MONAI", MANY, ours(Focal), {"MONAI": peers.monai_focal}, None, ONE_PASS),
    ]


def batch(race: Race, blobs: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Logits (or label maps) and target, of which a twentieth is ignored.

    Blobs are regions in all: in the truth (see `blob_map`), in the prediction, which is the truth moved a little and so
    wrong along its edges, and in what is ignored. Otherwise each pixel is drawn by itself.
    """
    images, classes, height, width = race.shape
    rng = torch.Generator().manual_seed(0)
    if blobs:
        target = blob_map(race.shape, rng)
        guess = target.roll((max(1, height // 128), max(1, width // 128)), (1, 2))
        field = smooth_field((images, height, width), rng)
        ignored = field < field.flatten(1).quantile(0.05, dim=1).view(-1, 1, 1)
    else:
        target, wrong = torch.randint(0, classes, (2, images, height, width), generator=rng)
        guess = torch.where(torch.rand(target.shape, generator=rng) < 0.8, target, wrong)
        ignored = torch.rand(target.shape, generator=rng) < 0.05
    target = target.masked_fill(ignored, peers.IGNORE)
    if race.labels is not None:
        return guess.to(device, race.labels), target.to(device, race.labels)
    logits = torch.randn(race.shape, generator=rng)
    strength = 8.0 if blobs else 3.0  # of blobs, noise shall not make the largest logit another class's
    logits.scatter_add_(1, guess.unsqueeze(1), torch.full_like(logits[:, :1], strength))
    return logits.to(device), target.to(device)


def blob_map(shape: tuple[int, int, int, int], rng: torch.Generator) -> Tensor:
    """(B, H, W) labels in round regions of many sizes, as in real masks: the largest of smooth random fields.

    The fields are made one class at a time, those of a few classes stronger, so that classes differ in frequency.
    """
    images, classes, height, width = shape
    largest = torch.full((images, height, width), -torch.inf)
    labels = torch.zeros((images, height, width), dtype=torch.int64)
    for index in range(classes):
        field = smooth_field((images, height, width), rng) - index / classes
        labels.masked_fill_(field > largest, index)
        largest = torch.maximum(largest, field)
    return labels


def smooth_field(shape: tuple[int, int, int], rng: torch.Generator) -> Tensor:
    """(B, H, W) random values that change over about 32 pixels."""
    images, height, width = shape
    coarse = torch.randn(images, 1, height // 32 + 1, width // 32 + 1, generator=rng)
    return F.interpolate(coarse, (height, width), mode="bicubic")[:, 0]
