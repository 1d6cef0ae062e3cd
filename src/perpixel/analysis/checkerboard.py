"""How much of a decoder's output is its upsampling grid showing through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perpixel.models.probe import evaluating
from perpixel.models.upsampling import Interpolate2x, Upsampler

HIGH = 0.01
"""A share of spectral energy on the grid above which a trained model's logits show a pattern to the eye."""

NEIGHBOURS = 1
"""A Hann window spreads a frequency over its neighbours up to this distance."""

RING = 3
"""The background is taken from the ring between ``NEIGHBOURS`` and this distance."""


def checkerboard_score(logits: Tensor, period: int) -> float:
    """The share of spectral energy at the frequencies of an upsampling grid, above what lies around them.

    Uneven upsampling writes a pattern that repeats with its stride (Odena et al. 2016), so its energy sits on the
    harmonics k/period of the two axes, in peaks of one frequency. Content is broad: it puts as much energy beside a
    harmonic as on it, and is taken off as the background.

    Args:
        logits: (B, C, H, W), of which the central square with a side that is a multiple of ``period`` is used.
        period: of the grid in pixels, a power of two; 2 is the last 2× step's, and includes no other.

    Returns:
        0…1: Σ over harmonics (energy − background) / Σ of all but the mean; 0 for constant logits.

    Raises:
        ValueError: the logits are too small for the grid's frequencies to stand apart.
    """
    side = min(logits.shape[-2:]) // period * period
    spacing = side // period
    if spacing <= 2 * RING:
        raise ValueError(
            f"logits of {tuple(logits.shape[-2:])} pixels are too small for a grid of {period}: "
            f"give images of {(2 * RING + 1) * period} pixels or more, or a smaller period."
        )
    spectrum = power_spectrum(centre(logits, side))
    harmonics = torch.arange(period) * spacing
    peaks = _box(spectrum, NEIGHBOURS)[harmonics][:, harmonics]
    around = _box(spectrum, RING)[harmonics][:, harmonics] - peaks
    cells, ring_cells = (2 * NEIGHBOURS + 1) ** 2, (2 * RING + 1) ** 2
    excess = (peaks - around * cells / (ring_cells - cells)).clamp(min=0)
    excess[0, 0] = 0  # the mean and what is slowest is content
    total = spectrum.sum() - peaks[0, 0]
    return float(excess.sum() / total) if total > 0 else 0.0


def centre(logits: Tensor, side: int) -> Tensor:
    """The central square."""
    top, left = ((n - side) // 2 for n in logits.shape[-2:])
    return logits[..., top : top + side, left : left + side]


def power_spectrum(maps: Tensor) -> Tensor:
    """(H, W): |FFT|² of the maps, each freed of its mean and windowed, summed over all of them."""
    maps = maps.detach().double().cpu()
    height, width = maps.shape[-2:]
    window = torch.hann_window(height, dtype=maps.dtype)[:, None] * torch.hann_window(width, dtype=maps.dtype)
    transformed = torch.fft.fft2((maps - maps.mean((-2, -1), keepdim=True)) * window)
    power: Tensor = transformed.abs().square().flatten(0, -3).sum(0)
    return power


def _box(spectrum: Tensor, distance: int) -> Tensor:
    """Sums over squares of a side of 2·distance + 1; the spectrum is periodic."""
    shifts = range(-distance, distance + 1)
    rows = torch.stack([spectrum.roll(shift, 0) for shift in shifts]).sum(0)
    return torch.stack([rows.roll(shift, 1) for shift in shifts]).sum(0)


def natural_noise(images: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """(B, C, H, W) random images with the 1/f amplitude spectrum of photographs (Field 1987), mean 0 and variance 1."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.fft.fft2(torch.randn(images, channels, height, width, generator=generator))
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None, :])
    frequency[0, 0] = torch.inf
    noise = torch.fft.ifft2(white / frequency).real
    images_of_unit_variance: Tensor = noise / noise.std((-2, -1), keepdim=True)
    return images_of_unit_variance


@torch.no_grad()
def measure_checkerboard(model: nn.Module, images: Tensor, period: int = 8) -> float:
    """The checkerboard score of a model's logits for a batch of images, in evaluation mode.

    Args:
        model: any model, trained or not.
        images: (B, C, H, W), normalised as the model takes them.
        period: coarsest grid that is looked at; 8 covers the last three 2× steps, which the eye sees.
    """
    with evaluating(model):
        return checkerboard_score(model(images), period)


def all_bilinear(model: nn.Module) -> bool:
    """Whether every 2× step of a model is bilinear (or it has none), so that there is nothing to advise."""
    steps = [module for module in model.modules() if isinstance(module, Upsampler)]
    return all(isinstance(step, Interpolate2x) and step.mode == "bilinear" for step in steps)


@contextmanager
def smooth_steps(model: nn.Module) -> Iterator[None]:
    """Inside the block every 2× step of a model, trained or not, is bilinear interpolation of its own 2×2 means.

    What is left of the checkerboard score is content: a trained model needs no bilinear twin to be compared with.
    """

    def smooth(_: nn.Module, __: object, upsampled: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(upsampled, kernel_size=2), scale_factor=2.0, mode="bilinear")

    hooks = [step.register_forward_hook(smooth) for step in model.modules() if isinstance(step, Upsampler)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def advice_for(model: nn.Module, images: Tensor) -> tuple[dict[str, float], str | None]:
    """A trained model's checkerboard score beside the same with smooth steps, and what to tell the user.

    Args:
        model: any model.
        images: (B, C, H, W), normalised as the model takes them, 56 pixels or more.

    Returns:
        ``score`` and ``smooth``; and the advice, None where there is none, as for models that are bilinear throughout.
    """
    score = measure_checkerboard(model, images)
    with smooth_steps(model):
        smooth = measure_checkerboard(model, images)
    told = None if all_bilinear(model) else advice(score, bilinear=smooth)
    return {"score": score, "smooth": smooth}, told


def advice(score: float, bilinear: float | None = None) -> str | None:
    """What to tell the user about a model's score, None if there is nothing to tell.

    Args:
        score: of the model.
        bilinear: of the same model with ``decoder=bilinear`` or smooth steps, if known.
    """
    if score < HIGH or (bilinear is not None and score < 2 * bilinear):
        return None
    return (
        f"{score:.1%} of the logits' spectral energy lies on the upsampling grid: predictions may show a checkerboard. "
        f"Try decoder=bilinear (or decoder=transposed decoder.kernel_size=4)."
    )
