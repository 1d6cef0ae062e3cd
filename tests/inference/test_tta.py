"""Test-time augmentation: views undo themselves, and their probabilities are averaged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from perpixel.inference.sliding_window import sliding_window
from perpixel.inference.tta import TTABackend, View, views

ALL = ["hflip", "vflip", "rot90"]


def equivariant(images: Tensor) -> Tensor:
    """Logits of a pixel from it and the sum of its four neighbours: turned images give turned maps, to the bit.

    Sums of eighths in this range are exact, whatever their order.
    """
    padded = F.pad(images[:, :1], (1, 1, 1, 1))
    around = padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1] + padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:]
    return torch.cat([images[:, 1:2], around, images[:, 2:3] - images[:, :1]], dim=1)


def eighths(height: int, width: int) -> Tensor:
    return torch.randint(0, 16, (2, 3, height, width), generator=torch.Generator().manual_seed(0)) / 8


@pytest.mark.parametrize("size", [(9, 14), (14, 9), (1, 6), (8, 8)], ids=str)
@pytest.mark.parametrize("names", [["hflip"], ["vflip"], ["hflip", "vflip"], ["rot90"], ALL], ids=str)
def test_an_equivariant_model_gives_exactly_the_single_prediction(names: list[str], size: tuple[int, int]) -> None:
    images = eighths(*size)
    averaged = TTABackend(equivariant, names)
    single = equivariant(images).softmax(1)
    assert torch.equal(averaged.probabilities(images), single)
    assert torch.equal(averaged(images).argmax(1), single.argmax(1))
    torch.testing.assert_close(averaged(images).softmax(1), single, atol=1e-6, rtol=1e-6)


def test_inside_a_sliding_window_it_is_exact_too() -> None:
    images = eighths(30, 41)
    for overlap in (0.0, 0.5):
        single = sliding_window(lambda part: equivariant(part).softmax(1).log(), images, 16, overlap)
        averaged = sliding_window(TTABackend(equivariant, ALL), images, 16, overlap)
        torch.testing.assert_close(averaged, single, atol=1e-5, rtol=1e-5)
        assert torch.equal(averaged.argmax(1), single.argmax(1))


def test_views_are_all_combinations_each_once() -> None:
    assert views([]) == (View(),)
    assert views(["hflip"]) == (View(), View(mirrored=True))
    assert len(views(["hflip", "vflip"])) == 4
    assert len(set(views(["rot90"]))) == 4
    assert len(set(views(ALL))) == len(views(ALL)) == 8, "the square's symmetries"
    assert len(views(["hflip", 0.5, 2])) == 6
    assert views([1.0]) == (View(),)


@pytest.mark.parametrize("view", views([*ALL, 2.0]), ids=str)
def test_every_view_undoes_itself(view: View) -> None:
    """A ramp is its own bilinear enlargement, but for the border."""
    rows, columns = torch.meshgrid(torch.arange(7.0), torch.arange(11.0), indexing="ij")
    image = (rows + 20 * columns)[None, None]
    back = view.undo(view.of(image), (7, 11))
    torch.testing.assert_close(back[..., 1:-1, 1:-1], image[..., 1:-1, 1:-1])


def test_flips_are_what_their_names_say() -> None:
    image = torch.rand(1, 3, 4, 5)
    assert torch.equal(views(["hflip"])[1].of(image), image.flip(3))
    assert torch.equal(views(["vflip"])[1].of(image), image.flip(2))


def test_probabilities_are_averaged_not_logits() -> None:
    """One view is sure of a class, the other of another one: the mean is half and half."""

    def by_side(images: Tensor) -> Tensor:
        sure = torch.zeros(len(images), 2, *images.shape[2:])
        sure[:, 0, :, : images.shape[3] // 2] = 50
        sure[:, 1, :, images.shape[3] // 2 :] = 5
        return sure

    found = TTABackend(by_side, ["hflip"]).probabilities(torch.rand(1, 3, 4, 4))
    torch.testing.assert_close(found, torch.full_like(found, 0.5), atol=0.01, rtol=0)


@pytest.mark.parametrize("name", ["flip", 0.0, 100, True, "0.5"])
def test_unknown_views_are_refused(name: object) -> None:
    with pytest.raises(ValueError, match="tta="):
        views([name])  # type: ignore[list-item]
