"""Losses against their formulas written out by hand or by others."""

from __future__ import annotations

import numpy as np
import segmentation_models_pytorch.losses as smp
import torch
import torch.nn.functional as F

from perpixel.losses import CrossEntropy, Dice, Focal, Lovasz


def batch(classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(3, classes, 9, 8, generator=rng, dtype=torch.float64)
    target = torch.randint(0, classes, (3, 9, 8), generator=rng)
    target[torch.rand(target.shape, generator=rng) < 0.1] = 255
    return logits, target


def test_cross_entropy_is_torchs() -> None:
    logits, target = batch()
    weights = [0.5, 1.0, 2.0, 0.0, 3.0]
    for smoothing in (0.0, 0.2):
        ours = CrossEntropy(label_smoothing=smoothing, class_weights=weights)(logits, target)
        theirs = F.cross_entropy(
            logits, target, torch.tensor(weights).double(), ignore_index=255, label_smoothing=smoothing
        )
        torch.testing.assert_close(ours, theirs)


def test_focal_is_the_papers() -> None:
    logits, target = batch()
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    values = [
        -((1 - p[b, c, i, j]) ** 2) * np.log(p[b, c, i, j])
        for (b, i, j), c in np.ndenumerate(target.numpy())
        if c != 255
    ]
    np.testing.assert_allclose(Focal(gamma=2.0)(logits, target), np.mean(values))
    torch.testing.assert_close(Focal(gamma=0.0)(logits, target), CrossEntropy()(logits, target))


def test_dice_is_smps_where_all_classes_are_present() -> None:
    logits, target = batch()
    for smooth in (0.0, 1.0):
        theirs = smp.DiceLoss("multiclass", ignore_index=255, smooth=smooth / 2, eps=0)(
            logits, target
        )  # smp halves the ratio
        torch.testing.assert_close(Dice(smooth=smooth)(logits, target), theirs)


def test_dice_per_image_is_the_mean_over_images_and_classes_present() -> None:
    logits, target = batch()
    target[0][target[0] == 1] = 0
    each = [Dice()(logits[i : i + 1], target[i : i + 1]) * (target[i] != 255).bool().new_tensor(1) for i in range(3)]
    present = [target[i][target[i] != 255].unique().numel() for i in range(3)]
    expected = sum(value * n for value, n in zip(each, present, strict=True)) / sum(present)
    torch.testing.assert_close(Dice(per_image=True)(logits, target), expected)


def test_lovasz_is_smps() -> None:
    logits, target = batch()
    theirs = smp.LovaszLoss("multiclass", per_image=False, ignore_index=255)(logits.float(), target)
    torch.testing.assert_close(Lovasz()(logits.float(), target), theirs)


def test_lovasz_of_hard_predictions_is_one_minus_miou() -> None:
    target = torch.tensor([[[0, 0, 1, 1], [2, 2, 0, 1]]])
    wrong = torch.tensor([[[0, 1, 1, 1], [2, 0, 0, 1]]])
    logits = 1e3 * F.one_hot(wrong, 3).movedim(3, 1).double()
    torch.testing.assert_close(Lovasz()(logits, target), torch.tensor(1 - (2 / 4 + 3 / 4 + 1 / 2) / 3).double())
