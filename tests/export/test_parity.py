"""The gate: what it measures on known differences, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from perpixel.export import Bound, Parity
from perpixel.export.graph import AnySizeAverage
from perpixel.export.parity import (
    Labelled,
    MiouDrop,
    batches_of,
    compare,
    cut,
    faults,
    miou_drop,
    remark,
    shapes_to_try,
)
from perpixel.labels import LabelSpace

LABELS = LabelSpace(("a", "b"), ((0, 0, 0), (9, 9, 9)))


def original(images: Tensor) -> Tensor:
    """Class 1 where the first channel is above a half; logits −0.5…0.5."""
    return torch.stack([-(images[:, 0] - 0.5), images[:, 0] - 0.5], dim=1)


def shifted(by: float) -> object:
    return lambda images: original(images) + torch.tensor([0.0, by]).view(1, 2, 1, 1)


def batches(count: int = 2) -> list[Tensor]:
    return list(torch.rand(count, 1, 3, 20, 30, generator=torch.Generator().manual_seed(0)))


def test_the_same_function_differs_in_nothing() -> None:
    image = torch.rand(1, 3, 16, 16)
    found = compare(original, original, batches(), [Labelled(image, (image[:, 0] > 0.5).byte())], LABELS)
    assert (found.max_relative, found.mean_relative, found.agreement) == (0, 0, 1)
    assert found.pixels == 2 * 600 + 256
    assert found.miou is not None
    assert found.miou.original == found.miou.exported == 100
    assert faults(found, Bound()) == []


def test_a_shift_is_measured_as_a_share_of_the_logits_range() -> None:
    image = torch.zeros(1, 3, 4, 4)
    image[..., 0] = 1  # logits are ±0.5: a range of 1
    found = compare(original, shifted(0.01), [image], [], LABELS)  # type: ignore[arg-type]
    assert found.max_relative == pytest.approx(0.01, rel=1e-4)
    assert found.mean_relative == pytest.approx(0.005, rel=1e-4)
    assert found.agreement == 1
    assert "bound 1e-03" in faults(found, Bound())[0]


def test_labels_that_differ_are_counted_and_refused() -> None:
    images = torch.full((1, 3, 10, 10), 0.4)
    images[..., 0] = 0.0
    found = compare(original, shifted(0.3), [images], [], LABELS)  # type: ignore[arg-type]
    assert found.differing == 90
    assert any("10.0000 %" in one for one in faults(found, Bound(relative=None)))


@pytest.mark.parametrize(
    ("exported", "message"),
    [
        (lambda images: original(images)[..., :-1], "logits of shape"),
        (lambda images: original(images) * float("nan"), "not finite"),
        (lambda images: torch.zeros(2)[5], "cannot take images of shape"),
    ],
)
def test_an_export_that_fails_is_refused_with_the_reason(exported: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(original, exported, batches(1), [], LABELS)  # type: ignore[arg-type]


def test_the_loss_of_miou_is_paired_over_images() -> None:
    """Both models err alike on every image, so the interval is narrow although images differ much."""
    rng = np.random.default_rng(0)
    wrong = rng.integers(10, 400, 30)
    before = np.array([[[500, int(n)], [0, 500]] for n in wrong])
    after = before + np.array([[-5, 5], [0, 0]])
    found = miou_drop(before, after)
    assert found.low <= found.drop <= found.high
    assert found.low > 0
    assert found.high - found.low < 0.1
    assert miou_drop(before, before)[2:5] == (0, 0, 0)


def parity(agreement: float, miou: MiouDrop | None) -> Parity:
    return Parity(pixels=10_000, differing=round(10_000 * (1 - agreement)), miou=miou)


INT8 = Bound(None, 0.0, miou_drop=0.5, enough_agreement=0.99)


@pytest.mark.parametrize(
    ("found", "refused", "said"),
    [
        (parity(0.9, MiouDrop(80, 79.9, 0.1, 0.0, 0.3, 100)), False, False),
        (parity(0.999, MiouDrop(80, 79.6, 0.4, 0.2, 0.7, 100)), True, False),
        (parity(0.999, MiouDrop(80, 79.6, 0.4, -1, 2, 4)), False, True),  # too few images: agreement decides
        (parity(0.98, MiouDrop(80, 80, 0.0, -1, 1, 4)), True, True),
        (parity(0.98, None), True, True),
        (parity(0.995, None), False, True),
    ],
)
def test_int8_is_held_to_the_upper_end_of_the_interval_or_to_agreement(
    found: Parity, refused: bool, said: bool
) -> None:
    assert bool(faults(found, INT8)) == refused
    assert bool(remark(found, INT8)) == said


def test_other_sizes_batches_and_odd_sides_are_tried() -> None:
    shapes = shapes_to_try((64, 64), fixed=False)
    sizes = {shape[1:] for shape in shapes}
    assert len(sizes - {(64, 64)}) >= 3
    assert any(height % 2 and width % 2 and height != width for height, width in sizes)
    assert {1, 2, 3} <= {batch for batch, *_ in shapes}
    assert {shape[1:] for shape in shapes_to_try((64, 96), fixed=True)} == {(64, 96)}


def test_batches_are_cut_from_real_images_until_there_are_enough_pixels() -> None:
    images = [torch.arange(3 * 10 * 12).reshape(3, 10, 12).float() + 1000 * number for number in range(3)]
    found = list(batches_of(images, [(2, 5, 5), (1, 15, 7)], pixels=400))
    assert [tuple(one.shape) for one in found[:2]] == [(2, 3, 5, 5), (1, 3, 15, 7)]
    assert sum(one[:, 0].numel() for one in found) >= 400
    assert set(found[0].flatten().tolist()) <= set(torch.cat([one.flatten() for one in images]).tolist())
    one = cut(images[0], (14, 12), np.random.default_rng(0))
    assert torch.equal(one[:, 10:], images[0][:, 6:10].flip(1)), "a side that is too short goes on mirrored"


@pytest.mark.parametrize("regions", [2, 3, 6])
@pytest.mark.parametrize("size", [(7, 5), (6, 6), (13, 29), (2, 3)])
def test_the_average_that_is_exported_is_torchs(regions: int, size: tuple[int, int]) -> None:
    features = torch.rand(2, 3, *size)
    wanted = torch.nn.AdaptiveAvgPool2d(regions)(features)
    torch.testing.assert_close(AnySizeAverage((regions, regions))(features), wanted)
