"""The same work by others, each used as its documentation says."""

from __future__ import annotations

from collections.abc import Callable

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex
from torchmetrics.segmentation import MeanIoU

IGNORE = 255
Work = Callable[[Tensor, Tensor], object]


def torchmetrics_jaccard(classes: int, device: torch.device) -> Work:
    return _updates(MulticlassJaccardIndex(classes, ignore_index=IGNORE, validate_args=False), device)


def torchmetrics_confusion(validate: bool) -> Callable[[int, torch.device], Work]:
    def make(classes: int, device: torch.device) -> Work:
        return _updates(MulticlassConfusionMatrix(classes, ignore_index=IGNORE, validate_args=validate), device)

    return make


def torchmetrics_mean_iou(classes: int, device: torch.device) -> Work:
    """It takes int64 alone and ignores nothing."""
    update = _updates(MeanIoU(classes, input_format="index"), device)
    return lambda prediction, target: update(prediction.long(), target.long().where(target != IGNORE, 0))


def _updates(metric: Metric, device: torch.device) -> Work:
    metric = metric.to(device)
    return lambda prediction, target: metric.update(prediction, target)


def smp_stats(classes: int, device: torch.device) -> Work:
    def work(prediction: Tensor, target: Tensor) -> object:
        labels = prediction.argmax(1) if prediction.is_floating_point() else prediction.long()
        return smp.metrics.get_stats(labels, target.long(), "multiclass", ignore_index=IGNORE, num_classes=classes)

    return work


def histc(classes: int, device: torch.device) -> Work:
    """Intersection and union by three histograms, as mmsegmentation counts them."""

    def work(prediction: Tensor, target: Tensor) -> object:
        keep = target != IGNORE
        guess, truth = prediction[keep], target[keep]
        return [torch.histc(v.float(), classes, 0, classes - 1) for v in (guess[guess == truth], guess, truth)]

    return work


def argmax_bincount(classes: int, device: torch.device) -> Work:
    """What one writes with PyTorch alone."""
    matrix = torch.zeros(classes * classes, dtype=torch.int64, device=device)

    def work(logits: Tensor, target: Tensor) -> object:
        keep = target != IGNORE
        pairs = target[keep] * classes + logits.argmax(1)[keep]
        return matrix.add_(torch.bincount(pairs, minlength=classes * classes))

    return work


def smp_loss(name: str) -> Callable[[int, torch.device], Work]:
    """smp's Focal is of each class against the rest, ours of the softmax (as the paper's extension to classes)."""
    loss = getattr(smp.losses, f"{name}Loss")("multiclass", ignore_index=IGNORE)
    return lambda classes, device: trained(loss)


def torch_cross_entropy(classes: int, device: torch.device) -> Work:
    return trained(lambda logits, target: F.cross_entropy(logits, target, ignore_index=IGNORE))


def monai_dice(classes: int, device: torch.device) -> Work:
    from monai.losses import DiceLoss

    loss = DiceLoss(softmax=True, to_onehot_y=True, batch=True, ignore_index=IGNORE)
    return trained(lambda logits, target: loss(logits, target.unsqueeze(1)))


def monai_focal(classes: int, device: torch.device) -> Work:
    from monai.losses import FocalLoss

    loss = FocalLoss(use_softmax=True, to_onehot_y=True, ignore_index=IGNORE)
    return trained(lambda logits, target: loss(logits, target.unsqueeze(1)))


def trained(loss: Callable[[Tensor, Tensor], Tensor]) -> Work:
    """Forward and backward."""

    def work(logits: Tensor, target: Tensor) -> object:
        leaf = logits.detach().requires_grad_()
        loss(leaf, target).backward()
        return leaf.grad

    return work
