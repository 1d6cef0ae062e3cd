from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from perpixel.models import Bilinear, DySample, Nearest, PixelShuffle, Transposed
from perpixel.models.upsampling import Transposed2x


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(2, 8, 6, 5, generator=torch.Generator().manual_seed(0))


def inside(tensor: torch.Tensor) -> torch.Tensor:
    """Without the border, where padding rules differ."""
    return tensor[..., 2:-2, 2:-2]


@pytest.mark.parametrize("upsampling", [Bilinear(), Nearest(), Transposed(), Transposed(4), PixelShuffle(), DySample()])
@pytest.mark.parametrize("out_channels", [8, 4, 6])
def test_a_step_doubles_the_size_and_may_change_the_channels(upsampling, out_channels, features) -> None:
    assert upsampling.make(8, out_channels)(features).shape == (2, out_channels, 12, 10)


def test_transposed_with_bilinear_weights_is_bilinear_interpolation(features) -> None:
    step = Transposed(kernel_size=4).make(8)
    torch.testing.assert_close(
        inside(step(features)), inside(F.interpolate(features, scale_factor=2.0, mode="bilinear"))
    )


def test_untrained_dysample_is_bilinear_interpolation_almost(features) -> None:
    step = DySample().make(8)
    expected = F.interpolate(features, scale_factor=2.0, mode="bilinear")
    torch.testing.assert_close(step(features), expected, atol=2e-2, rtol=0)
    torch.nn.init.zeros_(step.offset.weight)
    torch.testing.assert_close(step(features), expected)


def test_dysample_samples_where_its_offsets_point() -> None:
    step = DySample(groups=1).make(1)
    torch.nn.init.zeros_(step.offset.weight)
    # + 3 input pixels in x (the convolution's output counts a quarter), none in y
    step.offset.bias.data = torch.tensor([12.0] * 4 + [0.0] * 4)
    ramp = torch.arange(16.0).expand(1, 1, 4, 16)
    expected = F.interpolate(ramp, scale_factor=2.0, mode="bilinear") + 3
    torch.testing.assert_close(step(ramp)[..., 2:-8], expected[..., 2:-8])


def test_groups_of_dysample_move_their_own_channels() -> None:
    step = DySample(groups=2).make(4)
    torch.nn.init.zeros_(step.offset.weight)
    step.offset.bias.data = torch.tensor([4.0] * 4 + [0.0] * 12)  # the first group only: one pixel in x
    ramp = torch.arange(16.0).expand(1, 4, 4, 16)
    plain = F.interpolate(ramp, scale_factor=2.0, mode="bilinear")
    moved = step(ramp)
    torch.testing.assert_close(moved[:, :2, :, 2:-8], plain[:, :2, :, 2:-8] + 1)
    torch.testing.assert_close(moved[:, 2:], plain[:, 2:])


def test_untrained_pixelshuffle_shows_no_checkerboard(features) -> None:
    upsampled = PixelShuffle().make(8)(features)
    nearest = F.interpolate(upsampled[..., ::2, ::2], scale_factor=2.0, mode="nearest")
    torch.testing.assert_close(upsampled, nearest)
    assert upsampled.std() > 0.1


@pytest.mark.parametrize("upsampling", [Transposed(2, "random"), Transposed(4, "random"), PixelShuffle()])
def test_learned_steps_keep_the_variance(upsampling) -> None:
    torch.manual_seed(0)
    features = torch.randn(4, 64, 16, 16)
    assert inside(upsampling.make(64)(features)).var().item() == pytest.approx(1.0, rel=0.15)


def test_transposed_refuses_what_draws_a_checkerboard() -> None:
    with pytest.raises(ValueError, match=r"decoder.kernel_size=3.*not a multiple of its stride.*Use 2 or 4"):
        Transposed(kernel_size=3)


def test_an_uneven_kernel_is_there_for_those_who_ask(features) -> None:
    uneven = Transposed(kernel_size=3, init="random", uneven=True)
    assert uneven.make(8)(features).shape == (2, 8, 12, 10)
    with pytest.raises(ValueError, match=r"interpolates nothing: set decoder\.init=random"):
        Transposed(kernel_size=3, uneven=True)
    with pytest.raises(ValueError, match="Use 2 or 4"):
        Transposed(kernel_size=5, init="random", uneven=True)


def test_transposed_starts_as_nearest_upsampling() -> None:
    features = torch.randn(1, 8, 5, 5)
    expected = F.interpolate(features, scale_factor=2.0, mode="nearest")
    torch.testing.assert_close(Transposed().make(8)(features), expected)


def test_chain_goes_in_steps_of_two() -> None:
    assert len(Transposed().chain(3, 8)) == 3
    assert len(Transposed().chain(3, 1)) == 0
    assert all(isinstance(step, Transposed2x) for step in Transposed().chain(3, 8))
    with pytest.raises(ValueError, match="6 is no power of two"):
        Nearest().chain(3, 6)


def test_projection_before_interpolation_equals_projection_after(features) -> None:
    step = Bilinear().make(8, 3)
    after = step.project(F.interpolate(features, scale_factor=2.0, mode="bilinear"))
    torch.testing.assert_close(step(features), after)
