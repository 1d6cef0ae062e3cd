"""Every loss's value against its paper's formula in NumPy, and against other libraries where definitions agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import segmentation_models_pytorch.losses as smp
import torch
import torch.nn.functional as F
from tests.contracts.test_losses import LOSSES, WEIGHTED
from tests.losses.formulas import FORMULAS, IGNORE, Case, Formula
from torch import Tensor, nn

from perpixel.losses import Boundary, CrossEntropy, Dice, Focal, FocalTversky, Jaccard, Loss, Lovasz, Sum, Tversky

Peer = Callable[[Tensor, Tensor], Tensor]
CLASSES = 4
UNEVEN = [0.5, 1.0, 2.0, 3.0]


def case(classes: list[float] | None = None, weigh: bool = False, absent: int = -1) -> Case:
    """Blobs of two pixels and noise upon them, a tenth ignored."""
    rng = np.random.default_rng(0)
    target = np.kron(rng.integers(0, CLASSES, (3, 5, 4)), np.ones((1, 2, 2), np.int64))
    target[target == absent] = (absent + 1) % CLASSES
    target[rng.random(target.shape) < 0.1] = IGNORE
    pixels = rng.random(target.shape) * 3 if weigh else np.ones(target.shape)
    logits = 2 * rng.standard_normal((3, CLASSES, *target.shape[1:]))
    return Case(logits, target, np.array(classes or [1.0] * CLASSES), pixels)


def value(loss: Loss, given: Case, weigh: bool = False) -> float:
    tensors = torch.from_numpy(given.logits), torch.from_numpy(given.target)
    return float(loss(*tensors, torch.from_numpy(given.pixels) if weigh else None))


def test_every_loss_of_the_contract_has_a_formula() -> None:
    assert FORMULAS.keys() == LOSSES.keys()


each = pytest.mark.parametrize(
    ("make", "formula"), [(LOSSES[name], formula) for name, formula in FORMULAS.items()], ids=FORMULAS.keys()
)


@each
@pytest.mark.parametrize("absent", [-1, 2])
def test_values_are_the_papers(make: Callable[[], Loss], formula: Formula, absent: int) -> None:
    given = case(absent=absent)
    assert value(make(), given) == pytest.approx(formula(given), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in FORMULAS if LOSSES[name]().takes_pixel_weights])
def test_pixel_weights_are_the_formulas(name: str) -> None:
    given = case(weigh=True)
    assert value(LOSSES[name](), given, weigh=True) == pytest.approx(FORMULAS[name](given), rel=1e-6)


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("weigh", [False, True])
def test_class_weights_are_the_formulas(name: str, weigh: bool) -> None:
    loss = WEIGHTED[name](UNEVEN)
    weigh = weigh and loss.takes_pixel_weights
    given = case(UNEVEN, weigh)
    assert value(loss, given, weigh) == pytest.approx(FORMULAS[name](given), rel=1e-6)


SMP: dict[str, tuple[Loss, Peer]] = {
    "dice": (Dice(), smp.DiceLoss("multiclass", ignore_index=IGNORE, eps=0)),
    # smp halves Dice's numerator and denominator, and so adds twice as much
    "dice_smooth": (Dice(smooth=1.0), smp.DiceLoss("multiclass", ignore_index=IGNORE, smooth=0.5, eps=0)),
    "jaccard": (Jaccard(), smp.JaccardLoss("multiclass", ignore_index=IGNORE, eps=0)),
    "jaccard_smooth": (Jaccard(smooth=1.0), smp.JaccardLoss("multiclass", ignore_index=IGNORE, smooth=1.0, eps=0)),
    "jaccard_weights": (
        Jaccard(class_weights=UNEVEN),
        smp.JaccardLoss("multiclass", ignore_index=IGNORE, eps=0, class_weights=UNEVEN),
    ),
    "tversky": (Tversky(), smp.TverskyLoss("multiclass", ignore_index=IGNORE, eps=0, alpha=0.3, beta=0.7)),
    "lovasz": (Lovasz(), smp.LovaszLoss("multiclass", per_image=False, ignore_index=IGNORE)),
}


@pytest.mark.parametrize(("ours", "theirs"), SMP.values(), ids=SMP.keys())
def test_values_are_smps_where_definitions_agree(ours: Loss, theirs: Peer) -> None:
    """All classes present: smp counts absent ones as 0. Its Focal is of one class against the rest, so not here."""
    given = case()
    logits, target = torch.from_numpy(given.logits), torch.from_numpy(given.target)
    if isinstance(ours, Lovasz):  # smp's knows 32 bits alone
        logits = logits.float()
    torch.testing.assert_close(ours(logits, target), theirs(logits, target), rtol=1e-5, atol=1e-7, check_dtype=False)


def monai(name: str, ignore: bool = True, **options: object) -> Peer:
    """A loss of MONAI's, taking labels as ours do."""
    losses = pytest.importorskip("monai.losses", reason="MONAI is an optional peer: pip install 'perpixel[peers]'")
    loss: nn.Module = getattr(losses, name)(to_onehot_y=True, **{"ignore_index": IGNORE} if ignore else {}, **options)
    return lambda logits, target: loss(logits, target.unsqueeze(1))


EXACT: dict[str, object] = {"softmax": True, "batch": True, "smooth_nr": 0.0, "smooth_dr": 0.0}
MONAI: dict[str, tuple[Loss, Callable[[], Peer], float]] = {
    "dice": (Dice(), lambda: monai("DiceLoss", **EXACT), 1),
    "dice_smooth": (Dice(smooth=1.0), lambda: monai("DiceLoss", **EXACT | {"smooth_nr": 1.0, "smooth_dr": 1.0}), 1),
    "dice_per_image": (Dice(per_image=True), lambda: monai("DiceLoss", **EXACT | {"batch": False}), 1),
    "jaccard": (Jaccard(), lambda: monai("DiceLoss", **EXACT, jaccard=True), 1),
    "tversky": (Tversky(), lambda: monai("TverskyLoss", **EXACT, alpha=0.3, beta=0.7), 1),
    "focal": (Focal(), lambda: monai("FocalLoss", use_softmax=True, gamma=2.0), 1),
    # its mean divides by the classes too
    "boundary": (Boundary(), lambda: monai("BoundaryLoss", ignore=False, softmax=True), CLASSES),
    "ce_dice": (
        Sum([CrossEntropy(), Dice()], [1.0, 0.5]),
        lambda: monai("DiceCELoss", False, **EXACT, lambda_dice=0.5),
        1,
    ),
}


@pytest.mark.parametrize(("ours", "make", "times"), MONAI.values(), ids=MONAI.keys())
def test_values_are_monais_where_definitions_agree(ours: Loss, make: Callable[[], Peer], times: float) -> None:
    """All classes are in all images. (MONAI counts absent ones; its generalised Dice weighs classes by their size.)"""
    theirs, given = make(), case()
    logits, target = torch.from_numpy(given.logits), torch.from_numpy(given.target)
    if type(ours) in (Boundary, Sum):  # MONAI's know no ignored pixels
        target = target.where(target != IGNORE, 0)
    expected = times * theirs(logits, target)
    torch.testing.assert_close(ours(logits, target), expected, rtol=1e-5, atol=1e-7, check_dtype=False)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_torchs(smoothing: float) -> None:
    given, weights = case(), [0.5, 1.0, 2.0, 0.0]
    logits, target = torch.from_numpy(given.logits), torch.from_numpy(given.target)
    theirs = F.cross_entropy(
        logits, target, torch.tensor(weights).double(), ignore_index=IGNORE, label_smoothing=smoothing
    )
    torch.testing.assert_close(CrossEntropy(label_smoothing=smoothing, class_weights=weights)(logits, target), theirs)


def test_dice_in_32_bits_is_dice_in_64() -> None:
    given = case()
    logits, target = torch.from_numpy(given.logits).float(), torch.from_numpy(given.target)
    torch.testing.assert_close(Dice()(logits, target).double(), Dice()(logits.double(), target), rtol=1e-6, atol=0)


def test_lovasz_of_hard_predictions_is_one_minus_miou() -> None:
    target = torch.tensor([[[0, 0, 1, 1], [2, 2, 0, 1]]])
    wrong = torch.tensor([[[0, 1, 1, 1], [2, 0, 0, 1]]])
    logits = 1e3 * F.one_hot(wrong, 3).movedim(3, 1).double()
    torch.testing.assert_close(Lovasz()(logits, target), torch.tensor(1 - (2 / 4 + 3 / 4 + 1 / 2) / 3).double())


def test_focal_tversky_of_the_truth_itself_is_zero() -> None:
    target = torch.randint(0, 3, (1, 6, 6), generator=torch.Generator().manual_seed(0))
    logits = (1e3 * F.one_hot(target, 3).movedim(3, 1).double()).requires_grad_()
    loss = FocalTversky()(logits, target)
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
