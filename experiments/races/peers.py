"""The same work by others, each used as its documentation says."""

from __future__ import annotations

from collections.abc import Callable

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex
from torchmetrics.segmentation import MeanIoU

IGNORE = 255
Work = Callable[[Tensor, Tensor], object]


def torchmetrics_jaccard(classes: int) -> Work:
    metric = MulticlassJaccardIndex(classes, ignore_index=IGNORE, validate_args=False)
    return lambda prediction, target: metric.update(prediction, target)


def torchmetrics_confusion(classes: int, validate: bool) -> Work:
    metric = MulticlassConfusionMatrix(classes, ignore_index=IGNORE, validate_args=validate)
    return lambda prediction, target: metric.update(prediction, target)


def torchmetrics_mean_iou(classes: int) -> Work:
    metric = MeanIoU(classes, input_format="index")
    return lambda prediction, target: metric.update(prediction.long(), target.long().where(target != IGNORE, 0))


def smp_stats(classes: int) -> Work:
    def work(prediction: Tensor, target: Tensor) -> object:
        labels = prediction.argmax(1) if prediction.is_floating_point() else prediction.long()
        return smp.metrics.get_stats(labels, target.long(), "multiclass", ignore_index=IGNORE, num_classes=classes)

    return work


def histc(classes: int) -> Work:
    """Intersection and union by three histograms, as mmsegmentation counts them."""

    def work(prediction: Tensor, target: Tensor) -> object:
        keep = target != IGNORE
        guess, truth = prediction[keep], target[keep]
        return [torch.histc(v.float(), classes, 0, classes - 1) for v in (guess[guess == truth], guess, truth)]

    return work


def smp_loss(name: str) -> Work:
    return trained(getattr(smp.losses, f"{name}Loss")("multiclass", ignore_index=IGNORE))


def torch_cross_entropy() -> Work:
    return trained(lambda logits, target: F.cross_entropy(logits, target, ignore_index=IGNORE))


def trained(loss: Callable[[Tensor, Tensor], Tensor]) -> Work:
    """Forward and backward."""

    def work(logits: Tensor, target: Tensor) -> object:
        leaf = logits.detach().requires_grad_()
        loss(leaf, target).backward()
        return leaf.grad

    return work
