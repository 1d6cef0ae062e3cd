"""Fixed samples that are never trained on and are scored after every epoch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.commands import Shell

import perpixel
from perpixel.augment import Light
from perpixel.data import DataModule, Earth, Folder
from perpixel.data.files.class_pixels import pixels_of, total_pixels
from perpixel.data.loading.canary import choose_canary, outside_canary
from perpixel.data.loading.fixed import FixedSamples
from perpixel.training.callbacks.canary import evaluating
from perpixel_scenes import Scenes

from .conftest import ArraySource, save

CLASSES = ["ground", "tree", "car"]
KEYS = [f"photo{i:02}" for i in range(40)]


def module(root: Path, **options: Any) -> DataModule:
    return DataModule(Folder(str(root), CLASSES), Light(size=(8, 8)), batch_size=2, **options)


def trained_on(data: DataModule) -> set[str]:
    return {name for batch in data.train_dataloader() for name in batch["name"]}


def test_a_number_takes_validation_samples_that_stay(make_folder: Callable[..., Path]) -> None:
    root = make_folder(KEYS)
    first = choose_canary(Folder(str(root), CLASSES), 3)
    assert len(set(first.names)) == 3
    assert {split for split, _ in first.members} == {"val"}
    assert module(root, seed=1, canary=3).canary.names == first.names  # type: ignore[union-attr]
    gone = next(pair for pair in Folder(str(root), CLASSES).split("val").pairs if pair.name not in first.names)
    gone.image.unlink()
    gone.mask.unlink()
    assert choose_canary(Folder(str(root), CLASSES, fractions=[0.7, 0.3, 0]), 3).names
    assert module(root, canary=3).fingerprints()["canary"] == first.fingerprint()


def test_names_and_files_are_taken_out_of_training(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder(KEYS)
    whole = module(root)
    one, other = sorted(trained_on(whole))[:2]
    validated = whole.source.split("val").sample_name(0)
    data = module(root, canary=[one, validated, other])
    assert trained_on(data) == trained_on(whole) - {one, other}
    assert data.fingerprints()["train"] != whole.fingerprints()["train"]
    assert data.fingerprints()["val"] == whole.fingerprints()["val"]
    (tmp_path / "names.txt").write_text(f"{one}\n\n{validated}\n")
    assert module(root, canary=str(tmp_path / "names.txt")).canary.names == [one, validated]  # type: ignore[union-attr]


def test_the_canarys_hash_is_its_own(make_folder: Callable[..., Path]) -> None:
    root = make_folder(KEYS)
    data = module(root, canary=2)
    before = data.fingerprints()
    names = data.canary.names  # type: ignore[union-attr]
    other = next(pair for pair in data.source.split("val").pairs if pair.name not in names)  # type: ignore[attr-defined]
    save(other.mask, Image.fromarray(np.ones((12, 14), np.uint8)))
    after = module(root, canary=names).fingerprints()
    assert after["val"] != before["val"]
    assert after["canary"] == before["canary"]
    save(root / "masks" / f"{names[0]}.png", Image.fromarray(np.ones((12, 14), np.uint8)))
    assert module(root, canary=names).fingerprints()["canary"] != before["canary"]


def test_mistakes_are_explained(make_folder: Callable[..., Path]) -> None:
    root = make_folder(KEYS)
    tested = Folder(str(root), CLASSES).split("test").pairs[0].name
    with pytest.raises(ValueError, match=rf"'{tested}' is a test sample"):
        module(root, canary=[tested])
    with pytest.raises(ValueError, match=r"no sample 'photo99'; did you mean 'photo"):
        module(root, canary=["photo99"])
    with pytest.raises(ValueError, match=r"data\.canary=99: the validation split has 6 samples"):
        module(root, canary=99)
    with pytest.raises(ValueError, match=r"'nowhere\.txt' does not exist: see data\.canary, .* a number, names"):
        module(root, canary="nowhere.txt")


@pytest.mark.parametrize("text", ["[1", "{}", "[]", "null", '{"names": "photo1"}', '{"names": []}'])
def test_a_file_that_names_nothing_is_told(text: str, make_folder: Callable[..., Path], tmp_path: Path) -> None:
    (path := tmp_path / "canary.json").write_text(text)
    told = "no sample is named" if text.endswith("[]}") else r'this is no canary\.json, which reads \{"names": \['
    with pytest.raises(ValueError, match=rf"data\.canary=.*canary\.json: {told}"):
        module(make_folder(KEYS), canary=str(path))


@pytest.mark.parametrize("make", [Earth, lambda: Scenes(train=2, val=6, size=(32, 32)), ArraySource])
def test_names_are_known_without_reading(make: Callable[[], Any]) -> None:
    source = make()
    split = source.split("val")
    for index in (0, len(split) - 1):
        assert split.sample_name(index) == split.read(index, np.random.default_rng(0)).name
    canary = choose_canary(source, 2)
    assert canary.shape(0) == canary.read(0, np.random.default_rng(0)).mask.shape
    with pytest.raises(ValueError, match="there is no sample 'x'"):
        choose_canary(source, ["x"])


def test_parts_of_a_network_get_their_own_modes_back() -> None:
    network = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Sequential(torch.nn.Dropout()))
    network[1].eval()
    with evaluating(network):
        assert not network[0].training
    assert [part.training for part in network.modules()] == [True, True, False, False]


@pytest.mark.parametrize("ema", ["0.9", pytest.param("null", marks=pytest.mark.slow)])
def test_is_scored_after_every_epoch_and_changes_nothing_else(tiny: list[str], tmp_path: Path, ema: str) -> None:
    rare = ["trainer.max_epochs=3", "trainer.check_val_every_n_epoch=3", f"training.ema_decay={ema}"]
    plain = perpixel.train([*tiny, *rare, f"output={tmp_path / 'plain'}"])
    watched = perpixel.train([*tiny, *rare, "data.canary=2"])

    def lines(result: perpixel.TrainResult) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (result.directory / "metrics.jsonl").read_text().splitlines()]

    assert [line["train/loss"] for line in lines(watched)] == [line["train/loss"] for line in lines(plain)]
    assert ["val/mIoU" in line for line in lines(watched)] == [False, False, True]
    assert all(0 <= line["canary/mIoU"] <= 1 for line in lines(watched))
    assert "canary/IoU/disc" in lines(watched)[0]
    assert watched.scores["val"] == plain.scores["val"]
    names = json.loads((watched.directory / "canary.json").read_text())["names"]
    assert len(names) == 2
    assert set(json.loads((watched.directory / "manifest.json").read_text())["data"]) >= {"canary"}


def test_the_canary_of_another_run(tiny: list[str], tmp_path: Path) -> None:
    """All of val as canary gives val's own scores; a run's canary.json gives the same samples again."""
    first = perpixel.train([*tiny, "data.canary=4"])  # 4 of 24 validate
    line = json.loads((first.directory / "metrics.jsonl").read_text())
    assert line["canary/mIoU"] == pytest.approx(line["val/mIoU"], rel=1e-5)
    shutil.copy(first.directory / "canary.json", tmp_path / "followed.json")
    again = perpixel.train([*tiny, f"data.canary={tmp_path / 'followed.json'}", f"output={tmp_path / 'again'}"])
    assert (again.directory / "canary.json").read_text() == (first.directory / "canary.json").read_text()


@pytest.mark.slow
def test_two_ranks_score_it_without_waiting_for_each_other(tiny: list[str], tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    ranks = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.batch_size=2"]
    shell.run("train", [*tiny, *ranks, "data.canary=3", "trainer.max_epochs=2", "hydra.run.dir=run"])
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= line["canary/mIoU"] <= 1 for line in lines)
    assert len(lines) == 2


def test_overfitting_leaves_no_sample_for_a_canary(make_folder: Callable[..., Path]) -> None:
    source = FixedSamples(Folder(str(make_folder(KEYS)), CLASSES), 4, seed=0)
    with pytest.raises(ValueError, match=r"data\.canary=2: with data\.overfit every sample is trained on"):
        choose_canary(source, 2)


def test_class_weights_do_not_count_the_canary(make_folder: Callable[..., Path]) -> None:
    source = Folder(str(make_folder(KEYS)), CLASSES)
    split = source.split("train")
    canary = choose_canary(source, [split.sample_name(0), split.sample_name(2)])
    counted = total_pixels(outside_canary(source, canary), source.labels)
    held = [pixels_of(split.read(index, np.random.default_rng(0)).mask, 3) for index in (0, 2)]
    whole = total_pixels(split, source.labels)
    assert counted.pixels == (np.array(whole.pixels) - np.sum(held, axis=0)).tolist()
