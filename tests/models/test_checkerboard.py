from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from perpixel.analysis.checkerboard import (
    HIGH,
    advice,
    advice_for,
    checkerboard_score,
    measure_checkerboard,
    natural_noise,
)
from perpixel.models import Bilinear, DySample, Encoder, PixelShuffle, Transposed, Unet, Upsampling
from perpixel.tracking import manifest
from perpixel.workflows import job


def score(upsampling: Upsampling) -> float:
    torch.manual_seed(0)
    return measure_checkerboard(Unet(Encoder("resnet18"), upsampling, 4), natural_noise(2, 3, 128, 128))


def test_a_kernel_of_3_at_stride_2_scores_high_and_icnr_scores_low() -> None:
    bad = score(Transposed(kernel_size=3, init="random", uneven=True))
    assert bad > 0.3
    for good in (Bilinear(), PixelShuffle(), DySample(), Transposed(kernel_size=4)):
        assert score(good) < HIGH / 2 < bad / 50


def test_random_transposed_convolutions_begin_with_a_checkerboard() -> None:
    assert score(Transposed(init="random")) > 10 * HIGH


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_pure_grid_scores_one_and_content_scores_none(period: int) -> None:
    pattern = torch.randn(1, 3, period, period).repeat(1, 1, 256 // period, 256 // period)
    assert checkerboard_score(pattern, period) > 0.99
    assert checkerboard_score(natural_noise(1, 3, 256, 256), period) < 0.005
    assert checkerboard_score(torch.randn(1, 3, 256, 256), period) < 0.02
    assert checkerboard_score(torch.ones(1, 3, 256, 256), period) == 0
    mixed = checkerboard_score(natural_noise(1, 1, 256, 256) + 0.3 * F.pad(pattern[:, :1], (0, 0)), period)
    assert 0.02 < mixed < 0.7


def test_a_finer_grid_is_not_seen_in_a_coarser_pattern_alone() -> None:
    stripes = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(64).expand(1, 1, 256, 256)  # period 4, no energy at period 2
    assert checkerboard_score(stripes, 4) > 0.99
    assert checkerboard_score(stripes, 2) < 0.01


def test_small_logits_are_refused_with_the_size_needed() -> None:
    with pytest.raises(ValueError, match="give images of 56 pixels or more, or a smaller period"):
        checkerboard_score(torch.randn(1, 1, 48, 48), 8)


def test_advice_only_where_there_is_something_to_mend() -> None:
    assert advice(HIGH / 2) is None
    assert advice(0.2, bilinear=0.15) is None
    assert "decoder=bilinear" in str(advice(0.2, bilinear=0.001))
    assert advice(0.2) is not None


def unet(upsampling: Upsampling) -> Unet:
    torch.manual_seed(0)
    return Unet(Encoder("resnet18"), upsampling, 4)


def test_smooth_steps_show_what_a_models_own_steps_add() -> None:
    images = natural_noise(2, 3, 64, 64)
    found, told = advice_for(unet(Transposed(init="random")), images)
    assert found["score"] > 10 * HIGH > 10 * found["smooth"]
    assert told is not None
    assert "decoder=bilinear" in told


@pytest.mark.parametrize("model", [unet(Bilinear()), torch.nn.Conv2d(3, 2, 1)], ids=["bilinear", "no steps"])
def test_a_bilinear_model_is_not_told_to_try_bilinear(model: torch.nn.Module) -> None:
    pattern = torch.randn(1, 3, 2, 2).repeat(2, 1, 64, 64)  # whatever the logits hold, it is the image's
    found, told = advice_for(model, pattern)
    assert set(found) == {"score", "smooth"}
    assert told is None
    if isinstance(model, torch.nn.Conv2d):
        assert found["score"] == found["smooth"] > HIGH


class OneBatch:
    """A data module with one batch of validation images."""

    def eval_dataloader(self, split: str) -> list[dict[str, torch.Tensor]]:
        return [{"image": natural_noise(2, 3, 64, 64)}]

    def on_after_batch_transfer(self, batch: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
        return batch


@pytest.mark.parametrize(("upsampling", "told"), [(Transposed(init="random"), 1), (Bilinear(), 0)])
def test_training_records_the_score_and_warns(upsampling, told, tmp_path: Path, caplog) -> None:
    job._advise(tmp_path, unet(upsampling), OneBatch())
    assert set(manifest.read(tmp_path)["checkerboard"]) == {"score", "smooth"}
    assert len([record for record in caplog.records if "Try decoder=bilinear" in record.message]) == told
