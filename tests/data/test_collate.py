from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import multiprocessing
from torch.utils.data import DataLoader

from perpixel.data.base import Sample
from perpixel.data.loading.batches import collate


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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("strategy", sorted(multiprocessing.get_all_sharing_strategies()))
def test_a_workers_batch_is_the_same_and_lies_in_one_piece_of_memory(strategy: str, dtype: npt.DTypeLike) -> None:
    given, before = samples(3, dtype), multiprocessing.get_sharing_strategy()
    multiprocessing.set_sharing_strategy(strategy)
    try:
        (batch,) = DataLoader(given, batch_size=3, num_workers=1, collate_fn=collate)  # type: ignore[arg-type]
    finally:
        multiprocessing.set_sharing_strategy(before)
    here = collate(given)
    assert batch.keys() == here.keys()
    assert batch["name"] == here["name"]
    for name in ("image", "mask"):
        assert torch.equal(batch[name], here[name])
        assert batch[name].stride() == here[name].stride()
    assert 0 < batch["mask"].data_ptr() - batch["image"].data_ptr() < 4096


def test_samples_that_are_not_alike_are_refused() -> None:
    with pytest.raises(ValueError, match=r"differ in size or depth \(image\).*uint16 (.'a'.) and .*uint8 (.'a'.)"):
        collate([*samples(3, np.uint8), *samples(3, np.uint16)])
