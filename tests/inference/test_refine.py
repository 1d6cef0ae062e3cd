"""Refinement: each step alone against what it is defined as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import perpixel
from perpixel.inference.refine import Refinement, closed, guided_filter, mean_field, opened, without_small

NAMES = ("ground", "square", "disc")


def logits(mask: np.ndarray, sure: float = 4.0) -> Tensor:
    return torch.from_numpy(sure * np.eye(3, dtype=np.float32)[mask]).permute(2, 0, 1)


def disc_with_specks() -> tuple[np.ndarray, np.ndarray]:
    """A disc of class 2 with a hole of 4 pixels, and a speck of 3 of class 1."""
    rows, columns = np.ogrid[:40, :50]
    clean = np.where((rows - 20) ** 2 + (columns - 20) ** 2 < 150, 2, 0)
    spotted = clean.copy()
    spotted[19:21, 19:21] = 0
    spotted[3, 40:43] = 1
    return clean, spotted


def test_small_pieces_and_holes_take_the_nearest_label() -> None:
    clean, spotted = disc_with_specks()
    assert np.array_equal(without_small(spotted, 5), clean)
    assert np.array_equal(without_small(spotted, 3), spotted), "neither has fewer than three"
    assert np.array_equal(without_small(spotted, 10_000), spotted), "where all are small, all stay"


def test_opening_and_closing_concern_one_class() -> None:
    mask = np.zeros((30, 40), int)
    mask[5:20, 5:20] = 1
    mask[12, 20:35] = 1  # a line
    mask[24:28, 30:34] = 2
    found = opened(mask, 1, 3)
    assert (found[12, 23:35] == 0).all()
    assert found[12, 10] == 1
    assert np.array_equal(found == 2, mask == 2)
    gap = np.ones((20, 30), int)
    gap[:, 14] = 0
    assert (closed(gap, 1, 1) == 1).all()
    assert np.array_equal(opened(np.ones((5, 5), int), 1, 2), np.ones((5, 5)))


def test_the_guided_filter_is_its_formula() -> None:
    """Written down with loops over boxes, in float64."""
    torch.manual_seed(0)
    guide, probabilities, radius, eps = torch.rand(9, 11), torch.rand(2, 9, 11).softmax(0), 2, 1e-3

    def box(values: np.ndarray) -> np.ndarray:
        padded = [
            [values[max(r - radius, 0) : r + radius + 1, max(c - radius, 0) : c + radius + 1].mean() for c in range(11)]
            for r in range(9)
        ]
        return np.array(padded)

    picture = guide.double().numpy()
    found = guided_filter(probabilities, guide, radius, eps).numpy()
    expected = []
    for one in probabilities.double().numpy():
        slope = (box(picture * one) - box(picture) * box(one)) / (box(picture**2) - box(picture) ** 2 + eps)
        start = box(one) - slope * box(picture)
        expected.append((box(slope) * picture + box(start)).clip(0))
    total = np.array(expected)
    assert np.abs(found - total / total.sum(0)).max() < 1e-4
    assert np.abs(found.sum(0) - 1).max() < 1e-6


@pytest.mark.parametrize("step", ["guided", "crf"])
def test_edges_move_to_those_of_the_image(step: str) -> None:
    """The prediction is right but for a border that is blurred and three pixels off."""
    image = torch.zeros(3, 24, 40)
    image[:, :, 20:] = 1
    share = torch.sigmoid((torch.arange(40.0) - 16.5) / 3).expand(24, 40)
    probabilities = torch.stack([1 - share, share])
    refine = {
        "guided": lambda: guided_filter(probabilities, image.mean(0), 8),
        "crf": lambda: mean_field(probabilities, image, 5),
    }
    right = (torch.arange(40) >= 20).expand(24, 40)
    before, after = ((one[1] > one[0]) == right for one in (probabilities, refine[step]()))
    assert (~after).sum() < (~before).sum() / 2


def test_what_changes_exchanges_its_probabilities() -> None:
    clean, spotted = disc_with_specks()
    given = logits(spotted)
    found = Refinement(small=5)(given, torch.zeros(3, 40, 50), NAMES)
    assert np.array_equal(found.argmax(0).numpy(), clean)
    torch.testing.assert_close(found.exp().sum(0), torch.ones(40, 50))
    torch.testing.assert_close(found.exp()[:, 0, 0], given.softmax(0)[:, 0, 0])
    torch.testing.assert_close(found.exp()[[1, 0], 3, 41], given.softmax(0)[[0, 1], 3, 41])


def test_the_predictor_refines(trained: Path, tiny_root: Path) -> None:
    plain = perpixel.load(trained, "cpu")
    refined = perpixel.load(trained, "cpu", refine=Refinement(small=40))
    image = tiny_root / "images" / "03.png"
    assert np.array_equal(refined.predict(image).mask, without_small(plain.predict(image).mask, 40))
    with pytest.raises(ValueError, match="there is no class 'road'; there are ground, square, disc"):
        perpixel.load(trained, "cpu", refine=Refinement(opening={"road": 2}))


@pytest.mark.parametrize("key", ["guided", "crf", "small"])
def test_steps_of_nothing_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"refine.{key}=0"):
        Refinement(**{key: 0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"refine.opening.disc=0"):
        Refinement(opening={"disc": 0})
    with pytest.raises(ValueError, match=r"refine.closing=3"):
        Refinement(closing=3)  # type: ignore[arg-type]
