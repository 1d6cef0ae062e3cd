from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.utils.data import DataLoader

from perpixel.data.base import Sample
from perpixel.data.batches import collate


def samples(channels: int, dtype: npt.DTypeLike) -> list[Sample]:
    rng = np.random.default_rng(0)
    images = [(rng.random((7, 9, channels)) * 255).astype(dtype)[:, ::step] for step in (1, -1, 1)]  # strides too
    return [Sample(image, image[..., 0].astype(np.uint8), "a") for image in images]


@pytest.mark.parametrize("channels", [1, 3, 4, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_channels_come_first_in_shape_and_last_in_memory(channels: int, dtype: npt.DTypeLike) -> None:
    given = samples(channels, dtype)
    batch = collate(given)
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(batch["image"].numpy(), np.stack([s.image for s in given]).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(batch["mask"].numpy(), np.stack([s.mask for s in given]))


def test_a_worker_hands_over_memory_that_is_shared_already() -> None:
    given = samples(3, np.uint8)
    (batch,) = DataLoader(given, batch_size=3, num_workers=1, collate_fn=_shared)  # type: ignore[arg-type]
    assert batch["shared"]
    assert torch.equal(batch["image"], collate(given)["image"])


def test_samples_that_are_not_alike_are_refused() -> None:
    with pytest.raises(ValueError, match=r"differ in size or depth \(image\).*uint16 (.'a'.) and .*uint8 (.'a'.)"):
        collate([*samples(3, np.uint8), *samples(3, np.uint16)])


def _shared(given: list[Sample]) -> dict[str, object]:
    batch = collate(given)
    return {**batch, "shared": batch["image"].is_shared() and batch["mask"].is_shared()}
