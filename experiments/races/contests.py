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

READ, BOTH_WAYS = 4.0, 12.0
"""Bytes a logit that must move: read once; or read in both passes, and its gradient written."""
LARGE, MANY = (8, 19, 512, 512), (2, 150, 256, 256)
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
        slow: others take so long that they are not run once more beforehand.
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
    return lambda prediction, target: ours.update(prediction, target)


def deterministic_metric(classes: int, device: torch.device) -> peers.Work:
    work = metric(classes, device)

    def strictly(prediction: Tensor, target: Tensor) -> None:
        torch.use_deterministic_algorithms(True)
        work(prediction, target)
        torch.use_deterministic_algorithms(False)

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


def many_classes(labels: torch.dtype) -> Race:
    name = f"confusion, 150 classes, {str(labels).removeprefix('torch.')} maps"
    others: dict[str, Contestant] = {"torchmetrics MeanIoU": peers.torchmetrics_mean_iou}
    return Race(name, MANY, metric, others, 1 / 100, 2 * labels.itemsize / MANY[1], labels)


TORCH: dict[str, Contestant] = {"torch cross_entropy alone": peers.torch_cross_entropy}
LOGITS: dict[str, Contestant] = {
    "torchmetrics JaccardIndex": peers.torchmetrics_jaccard,
    "smp get_stats": peers.smp_stats,
}
RACES = [
    Race("metric update from logits", LARGE, metric, LOGITS, 0.35, READ),
    confusion(torch.uint8, 1 / 5),
    confusion(torch.int64, 1 / 1.3),
    # No slower: a twentieth is left to chance.
    Race(
        "confusion, uint8 maps, deterministic mode",
        LARGE,
        deterministic_metric,
        {"ours, mode off": metric},
        1.05,
        2 / 19,
        torch.uint8,
    ),
    many_classes(torch.uint8),
    many_classes(torch.int64),
    Race("Dice", TRAINING, ours(Dice), {"smp": peers.smp_loss("Dice")}, 0.4, BOTH_WAYS, memory=0.45),
    Race("Lovász", MANY, ours(Lovasz), {"smp": peers.smp_loss("Lovasz")}, 0.1, BOTH_WAYS, slow=True),
    Race("Focal", MANY, ours(Focal), {"smp": peers.smp_loss("Focal")}, 0.05, BOTH_WAYS, slow=True),
    Race("ce_dice", TRAINING, ours(ce_dice), TORCH, 1.6, BOTH_WAYS),
    Race("ce_dice, small batch", SMALL, ours(ce_dice), TORCH, None, BOTH_WAYS),
]
if find_spec("monai"):  # the extra "peers"
    RACES += [
        Race("Dice, against MONAI", TRAINING, ours(Dice), {"MONAI": peers.monai_dice}, None, BOTH_WAYS),
        Race("Focal, against MONAI", MANY, ours(Focal), {"MONAI": peers.monai_focal}, None, BOTH_WAYS),
    ]


def batch(race: Race, blobs: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Logits (or label maps) and target, of which a twentieth is ignored; see `blob_map` for what blobs are."""
    images, classes, height, width = race.shape
    rng = torch.Generator().manual_seed(0)
    target = blob_map(race.shape, rng) if blobs else torch.randint(0, classes, (images, height, width), generator=rng)
    wrong = torch.randint(0, classes, target.shape, generator=rng)
    guess = torch.where(torch.rand(target.shape, generator=rng) < 0.8, target, wrong)
    target[torch.rand(target.shape, generator=rng) < 0.05] = peers.IGNORE
    if race.labels is not None:
        return guess.to(device, race.labels), target.to(device, race.labels)
    logits = torch.randn(race.shape, generator=rng)
    logits.scatter_add_(1, guess.unsqueeze(1), torch.full_like(logits[:, :1], 3.0))
    return logits.to(device), target.to(device)


def blob_map(shape: tuple[int, int, int, int], rng: torch.Generator) -> Tensor:
    """(B, H, W) labels in round regions of many sizes, as in real masks: the largest of smooth random fields.

    The fields are made one class at a time, those of a few classes stronger, so that classes differ in frequency.
    """
    images, classes, height, width = shape
    largest = torch.full((images, height, width), -torch.inf)
    labels = torch.zeros((images, height, width), dtype=torch.int64)
    for index in range(classes):
        coarse = torch.randn(images, 1, height // 32 + 1, width // 32 + 1, generator=rng)
        field = F.interpolate(coarse, (height, width), mode="bicubic")[:, 0] - index / classes
        labels.masked_fill_(field > largest, index)
        largest = torch.maximum(largest, field)
    return labels
