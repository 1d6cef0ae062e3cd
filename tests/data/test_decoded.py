from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.augment import Strong
from perpixel.data import DataModule, Folder
from perpixel.data.files import decoded_cache as module
from perpixel.data.files.decoded_cache import decoded
from perpixel.data.files.file_cache import cache_folder
from perpixel.data.files.pairs import Pair
from perpixel.data.formats.decode import read_image

from .conftest import save

KEYS = [f"{i}" for i in range(12)]
CLASSES = ["a", "b", "c"]
rng = np.random.default_rng


@pytest.fixture(autouse=True)
def _as_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", module.Mappings())


def test_cached_samples_equal_decoded_ones(make_folder: Callable[..., Path]) -> None:
    root = str(make_folder(KEYS))
    plain, cached = (Folder(root, CLASSES, cache=cache).split("train") for cache in (False, True))
    for _ in range(2):
        for index in range(len(plain)):
            first, second = plain.read(index, rng(0)), cached.read(index, rng(0))
            np.testing.assert_array_equal(first.image, second.image)
            np.testing.assert_array_equal(first.mask, second.mask)
            assert not second.image.flags.writeable, "it is mapped from a file"
    assert plain.fingerprint() == cached.fingerprint()


def test_a_changed_file_is_decoded_anew(make_folder: Callable[..., Path]) -> None:
    split = Folder(str(make_folder(KEYS)), CLASSES, cache=True).split("train")
    split.read(0, rng(0))
    save(split.pairs[0].mask, Image.fromarray(np.full((12, 14), 2, np.uint8)))
    assert (split.read(0, rng(0)).mask == 2).all()


def test_batches_are_the_same_with_the_cache(make_folder: Callable[..., Path]) -> None:
    root = str(make_folder(KEYS))

    def batches(cache: bool) -> list[bytes]:
        data = DataModule(Folder(root, CLASSES, cache=cache), Strong(size=(8, 8)), batch_size=2)
        return [batch["image"].numpy().tobytes() + batch["mask"].numpy().tobytes() for batch in data.train_dataloader()]

    assert batches(False) == batches(True) == batches(True)


def test_nothing_is_lost_where_nothing_can_be_written(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked / "below"))
    split = Folder(str(make_folder(KEYS)), CLASSES, cache=True).split("train")
    assert split.read(0, rng(0)).image.shape == (12, 14, 3)


def test_a_damaged_entry_is_written_anew(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    split = Folder(str(make_folder(KEYS)), CLASSES, cache=True).split("train")
    whole = split.read(0, rng(0)).image.copy()
    (entry,) = (path for path in cache_folder().glob("decoded/*/*") if path.is_file())
    for damaged in (b"", b"perpixel", entry.read_bytes()[:-1], b"x" * 1000):
        module._KEPT.clear()  # what is mapped must not shrink
        entry.write_bytes(damaged)
        np.testing.assert_array_equal(split.read(0, rng(0)).image, whole)


def test_entries_stay_mapped_up_to_a_limit(make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    split = Folder(str(make_folder(KEYS)), CLASSES, cache=True).split("train")

    def images(order: str) -> list[np.ndarray]:
        return [split.read(int(index), rng(0)).image for index in order]

    first, second = images("01"), images("01")
    assert [one is other for one, other in zip(first, second, strict=True)] == [True, True]
    size = first[0].nbytes + split.read(0, rng(0)).mask.nbytes
    for limit in ("KEPT_BYTES", "KEPT_MAPPINGS"):
        monkeypatch.setattr(module, "_KEPT", module.Mappings())
        with monkeypatch.context() as patch:
            patch.setattr(module, limit, 2 * size if limit == "KEPT_BYTES" else 2)
            zero, one, zero_again, _two, zero_still, one_anew = images("010201")
        assert zero is zero_again is zero_still
        assert one is not one_anew, "of three, the one that was longest ago is let go"
        np.testing.assert_array_equal(one, one_anew)


def test_where_a_process_may_map_no_more_what_is_kept_is_let_go(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = Folder(str(make_folder(KEYS)), CLASSES, cache=True).split("train")
    split.read(0, rng(0))
    real, asked = module._map, []

    def full(entry: Path) -> tuple[np.ndarray, np.ndarray]:
        asked.append(entry)
        if len(asked) == 1:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return real(entry)

    split.read(1, rng(0))  # which writes the entry
    module._KEPT.clear()
    split.read(0, rng(0))
    monkeypatch.setattr(module, "_map", full)
    assert not split.read(1, rng(0)).image.flags.writeable, "it is mapped all the same"
    assert len(asked) == 2
    assert len(module._KEPT._entries) == 1


def _read(pair: Pair) -> tuple[int, int]:
    image, mask = decoded(pair, "test", lambda: (np.full((300, 300, 3), 7, np.uint8), np.ones((300, 300), np.uint8)))
    return int(image.sum()), int(mask.sum())


def test_several_processes_write_one_entry(make_folder: Callable[..., Path]) -> None:
    pair = Folder(str(make_folder(KEYS)), CLASSES).split("train").pairs[0]
    with ProcessPoolExecutor(3, get_context("fork")) as pool:
        results = list(pool.map(_read, [pair] * 12))
    assert results == [(300 * 300 * 3 * 7, 300 * 300)] * 12


def test_a_file_rewritten_with_its_old_size_and_time_is_decoded_anew(make_folder: Callable[..., Path]) -> None:
    split = Folder(str(make_folder(KEYS)), CLASSES, cache=True).split("train")
    path = split.pairs[0].image.with_suffix(".bmp")
    pair = split.pairs[0]._replace(image=path)
    read = lambda: decoded(pair, "test", lambda: (read_image(path), np.zeros((4, 4), np.uint8)))[0].max()  # noqa: E731
    Image.new("RGB", (4, 4), 1).save(path)
    old = path.stat()
    assert read() == 1
    Image.new("RGB", (4, 4), (2, 2, 2)).save(path)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    assert read() == 2
