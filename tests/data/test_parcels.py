from __future__ import annotations

import gc
import os
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from perpixel.data.base import Sample
from perpixel.data.loading import shared_memory as parcels
from perpixel.data.loading.batches import Batch, collate
from perpixel.data.loading.loader import TimeoutLoader
from perpixel.data.loading.shared_memory import KEPT, Pieces, SharedBatch


@pytest.fixture(autouse=True)
def _own_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "_MINE", Pieces())
    monkeypatch.setattr(parcels, "_THEIRS", {})


def packed(value: int, height: int = 8) -> SharedBatch:
    return SharedBatch({"image": [np.full((height, 5, 3), value, np.uint8)] * 2}, ["a", "b"])


def handed_over(parcel: SharedBatch) -> dict[str, Any]:
    opened, arguments = parcel.__reduce__()
    return cast(dict[str, Any], opened(*arguments))


class Numbered(Dataset[Sample]):
    """Sample n is full of n; its height may change from batch to batch."""

    def __init__(self, count: int, heights: tuple[int, ...] = (4,)) -> None:
        self.count = count
        self.heights = heights

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        height = self.heights[index // 2 % len(self.heights)]
        return Sample(np.full((height, 3, 3), index, np.uint8), np.full((height, 3), index, np.uint8), str(index))


def loader(samples: Numbered, workers: int = 1, **options: Any) -> TimeoutLoader[Batch]:
    return TimeoutLoader(samples, batch_size=2, collate_fn=collate, num_workers=workers, **options)  # type: ignore[arg-type]


def test_memory_is_filled_again_when_the_batch_is_let_go() -> None:
    first = packed(1)
    batch = handed_over(first)
    second = packed(2)
    assert second.piece is not first.piece
    del batch
    third = packed(3)
    assert third.piece is first.piece
    assert (handed_over(third)["image"] == 3).all()


def test_memory_is_not_filled_again_while_a_part_of_the_batch_is_in_use() -> None:
    first = packed(1)
    part = handed_over(first)["image"][1:, :, 2:4].numpy()[0, 0]
    assert packed(2).piece is not first.piece
    assert (part == 1).all()
    del part
    assert packed(3).piece is first.piece


def test_a_handle_is_passed_once() -> None:
    first = packed(1)
    assert first.__reduce__()[1][1] is not None
    handed_over(first)
    again = packed(2)
    assert again.piece is first.piece
    assert again.__reduce__()[1][1] is None


def test_a_process_forked_meanwhile_gives_nothing_back() -> None:
    parcel = packed(1)
    batch = handed_over(parcel)
    if (child := os.fork()) == 0:
        del batch
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert parcel.piece.lent
    del batch
    assert not parcel.piece.lent


def test_who_holds_many_batches_gets_memory_of_its_own_for_each() -> None:
    held = [handed_over(packed(value)) for value in range(2 * KEPT)]
    assert [int(batch["image"][0, 0, 0, 0]) for batch in held] == list(range(2 * KEPT))
    held.clear()
    numbers = []
    for value in range(2 * KEPT):
        parcel = packed(value)
        numbers.append(parcel.piece.number)
        held.append(handed_over(parcel))
    assert numbers == [*range(KEPT), *[None] * KEPT]


def test_too_small_a_piece_is_replaced() -> None:
    kept = handed_over(packed(1))
    small = packed(2)
    handed_over(small)
    large = packed(3, height=800)
    assert large.piece is not small.piece
    assert large.piece.number == small.piece.number == 1
    assert (handed_over(large)["image"] == 3).all()
    smaller = packed(4)
    assert smaller.piece is large.piece
    assert (handed_over(smaller)["image"] == 4).all()
    assert (kept["image"] == 1).all()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("persistent", [False, True])
def test_batches_of_any_size_arrive_whole_and_in_few_pieces(workers: int, persistent: bool) -> None:
    batches = loader(Numbered(120, heights=(4, 40, 7, 90, 1)), workers, persistent_workers=persistent)
    for _ in range(2):
        seen = set()
        for number, batch in enumerate(batches):
            wanted = torch.tensor([2 * number, 2 * number + 1], dtype=torch.uint8)[:, None, None]
            assert (batch["mask"] == wanted).all()
            assert (batch["image"] == wanted[:, None]).all()
            seen.add(batch["image"].data_ptr())
        assert len(parcels._THEIRS) <= 5 * workers
        assert len(seen) < 60 / 2


def test_kept_batches_keep_their_pixels() -> None:
    batches = list(loader(Numbered(100)))
    assert [int(batch["image"][1, 0, 0, 0]) for batch in batches] == list(range(1, 101, 2))


def test_the_memory_of_workers_goes_with_them_but_not_a_batch_in_use() -> None:
    batches = loader(Numbered(40), workers=2, persistent_workers=True)
    last = list(batches)[-1]
    assert parcels._THEIRS
    del batches
    gc.collect()
    assert not parcels._THEIRS
    assert (last["image"][1] == 39).all()


def test_a_workers_number_may_have_passed_to_another() -> None:
    batches = iter(loader(Numbered(40)))
    next(batches)
    ((worker, _), *_) = parcels._THEIRS
    parcels.forget(worker)  # of one that ended with this number
    assert [int(batch["image"][1, 0, 0, 0]) for batch in batches] == list(range(3, 41, 2))
