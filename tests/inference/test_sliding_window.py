"""Windows that overlap: blended as over the whole map, streamed in bands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from perpixel.inference.sliding_window import BLENDS, Blend, SlidingWindow, blended_bands, sliding_window, spans

SIZES = [(37, 53), (16, 16), (15, 40), (40, 1), (1, 40), (1, 1), (16, 17), (7, 5)]


def network(channels: int = 3, classes: int = 4) -> nn.Module:
    """Convolutions that see beyond a window's edge: windows disagree where they overlap."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, classes, 5, padding=2)).eval()


def starts(side: int, window: int, overlap: float) -> list[int]:
    """Where windows begin, written down the slow way."""
    found, at = [0], 0
    while at + window < side:
        at = min(at + max(int(window * (1 - overlap)), 1), side - window)
        found.append(at)
    return found


def profile(length: int, blend: str) -> np.ndarray:
    x = (np.arange(length) - (length - 1) / 2) / length
    shapes: dict[str, Callable[[], np.ndarray]] = {
        "uniform": lambda: np.ones(length),
        "hann": lambda: 0.5 + 0.5 * np.cos(2 * np.pi * x),
        "gaussian": lambda: np.exp(-0.5 * (8 * x) ** 2).clip(1e-3),
    }
    return shapes[blend]()


@torch.inference_mode()
def over_the_whole_map(model: nn.Module, images: Tensor, window: int, overlap: float, blend: str) -> np.ndarray:
    """Sums of weighted maps and of weights, as large as the image, in float64."""
    height, width = images.shape[-2:]
    tall, wide = min(window, height), min(window, width)
    weight = np.outer(profile(tall, blend), profile(wide, blend))
    total, weights = np.zeros((4, height, width)), np.zeros((height, width))
    for top in starts(height, tall, overlap):
        for left in starts(width, wide, overlap):
            part = model(images[:, :, top : top + tall, left : left + wide])[0].double().numpy()
            total[:, top : top + tall, left : left + wide] += part * weight
            weights[top : top + tall, left : left + wide] += weight
    return total / weights


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.7])
@pytest.mark.parametrize("size", SIZES, ids=str)
@torch.inference_mode()
def test_bands_equal_blending_over_the_whole_map_in_float64(
    size: tuple[int, int], overlap: float, blend: Blend
) -> None:
    model, images = network(), torch.rand(1, 3, *size)
    found = sliding_window(model, images, 16, overlap, blend, batch_size=3)
    expected = over_the_whole_map(model, images, 16, overlap, blend)
    assert found.shape == (1, 4, *size)
    assert np.abs(found[0].numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.7])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_what_needs_no_context_is_left_as_it_is(size: tuple[int, int], overlap: float, blend: Blend) -> None:
    """Identity and constant models: equal to 1e-6, and the labels are equal, be the logits equal or not."""
    images = torch.rand(2, 5, *size)
    found = sliding_window(lambda part: part, images, 16, overlap, blend)
    assert (found - images).abs().max() < 1e-6
    assert torch.equal(found.argmax(1), images.argmax(1))
    constant = torch.tensor([0.1, 0.7, 0.7, -3.0]).view(1, 4, 1, 1)
    found = sliding_window(lambda part: constant.expand(len(part), 4, *part.shape[2:]), images, 16, overlap, blend)
    assert ((found - constant) / constant).abs().max() < 1e-6
    assert torch.equal(found.argmax(1), torch.ones(2, *size, dtype=torch.int64)), "equal classes stay equal"


@torch.inference_mode()
def test_an_image_that_one_window_holds_is_what_the_model_says_of_it() -> None:
    model, images = network(), torch.rand(1, 3, 21, 30)
    assert torch.equal(sliding_window(model, images, (21, 40)), model(images))


@torch.inference_mode()
def test_without_overlap_windows_are_the_tiles_that_data_are_cut_into() -> None:
    model, images = network(), torch.rand(1, 3, 35, 50)
    found = sliding_window(model, images, (16, 20), overlap=0)
    for top in range(0, 35, 16):
        for left in range(0, 50, 20):
            part = slice(None), slice(None), slice(top, top + 16), slice(left, left + 20)
            torch.testing.assert_close(found[part], model(images[part]))


@torch.inference_mode()
def test_channels_last_and_half_precision_give_the_same_map() -> None:
    images = torch.rand(1, 3, 40, 50)
    expected = sliding_window(network(), images, 16)
    last = network().to(memory_format=torch.channels_last)
    found = sliding_window(lambda part: last(part.contiguous(memory_format=torch.channels_last)), images, 16)
    torch.testing.assert_close(found, expected)
    half = sliding_window(lambda part: network()(part).bfloat16(), images, 16)
    assert half.dtype == torch.float32, "sums of 16 bits would round"
    assert (half - expected).abs().max() < 0.01


def test_the_last_window_is_shifted_into_the_image_and_none_is_padded() -> None:
    assert [span.start for span in spans(50, 16, 0.5)] == [0, 8, 16, 24, 32, 34]
    assert {span.length for span in spans(50, 16, 0.5)} == {16}
    assert spans(7, 16, 0.5) == [(0, 7)]
    assert spans(16, 16, 0.5) == [(0, 16)]
    seen: list[tuple[int, ...]] = []

    def model(part: Tensor) -> Tensor:
        seen.append(tuple(part.shape))
        return part

    sliding_window(model, torch.rand(1, 3, 40, 100), 32, 0.5, batch_size=4)
    assert {shape[1:] for shape in seen} == {(3, 32, 32)}
    assert max(shape[0] for shape in seen) == 4, "windows are batched"


def test_memory_does_not_grow_with_the_images_height() -> None:
    """Of 16 times the rows no more is read at once, and no more is held."""

    def held(height: int) -> tuple[int, int]:
        read: list[int] = []

        def rows(top: int, count: int) -> Tensor:
            read.append(count)
            return torch.full((2, count, 64), 0.5)

        bands = blended_bands(lambda part: part, rows, (height, 64), SlidingWindow((16, 16)))
        kept = max(band.untyped_storage().nbytes() for _, band in bands)
        return max(read), kept

    assert held(4096) == held(256) == (16, 2 * 16 * 64 * 4)


def test_a_model_that_shrinks_its_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gave maps of \(8, 8\)"):
        sliding_window(lambda part: part[:, :, ::2, ::2], torch.rand(1, 3, 40, 40), 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 0}, "window="),
        ({"window": 8, "overlap": 1.0}, "overlap="),
        ({"window": 8, "blend": "linear"}, "gaussian, hann, uniform"),
        ({"window": 8, "batch_size": 0}, "1 window or more"),
    ],
)
def test_impossible_windows_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sliding_window(lambda part: part, torch.rand(1, 3, 9, 9), **arguments)  # type: ignore[arg-type]
