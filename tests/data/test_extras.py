"""Per-pixel weights, further images and further masks: from files to the loss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import perpixel
from perpixel.augment import CutMix, Strong
from perpixel.data import DataModule, Folder
from perpixel.data.files.source import FileSplit

from ..conftest import CLASSES

rng = np.random.default_rng
SIZE = (12, 14)
KEYS = [str(index) for index in range(12)]
EXTRAS = {
    "nir": {"files": "nir", "kind": "image", "channels": 1},
    "parts": {"files": "parts/*.png", "kind": "mask", "key": "parts/(.+)_p"},
}


@pytest.fixture
def root(make_folder: Callable[..., Path]) -> Path:
    """Weights are the mask times 100, in 8 bits; nir is 16 bits wide; parts are the mask plus 7."""
    folder = make_folder(KEYS)
    for name in ("weights", "nir", "parts"):
        (folder / name).mkdir()
    for key in KEYS:
        mask = np.array(Image.open(folder / "masks" / f"{key}.png"))
        Image.fromarray(mask * np.uint8(100)).save(folder / "weights" / f"{key}.png")
        tifffile.imwrite(folder / "nir" / f"{key}.tif", mask.astype(np.uint16) * 1000)
        Image.fromarray(mask + np.uint8(7)).save(folder / "parts" / f"{key}_p.png")
    return folder


def source(root: Path, **options: Any) -> Folder:
    return Folder(str(root), list(CLASSES), **{"weights": "weights", "extras": EXTRAS, **options})


def test_extras_are_read_with_the_sample(root: Path) -> None:
    data = source(root)
    assert data.extras == {"weight": "weight", "nir": "image", "parts": "mask"}
    split = data.split("train")
    split.verify()
    sample = split.read(0, rng(0))
    np.testing.assert_array_equal(sample.extras["weight"], sample.mask * np.float32(100) / np.float32(255))
    np.testing.assert_array_equal(sample.extras["nir"][..., 0], sample.mask.astype(np.uint16) * 1000)
    np.testing.assert_array_equal(sample.extras["parts"], sample.mask + 7)
    plain = Folder(str(root), list(CLASSES))
    assert plain.split("train").read(0, rng(0)).extras == {}
    assert plain.split("train").fingerprint() != split.fingerprint()


def test_windows_and_the_cache_of_decoded_samples_bring_extras_too(root: Path) -> None:
    split = source(root, tile=[5, 6], cache=True).split("train")
    for _ in range(2):
        for index in range(len(split)):
            sample = split.read(index, rng(0))
            np.testing.assert_array_equal(sample.extras["parts"], sample.mask + 7)


@pytest.mark.parametrize("suffix", ["npy", "tif"])
def test_weights_as_floats(root: Path, suffix: str) -> None:
    for path in list((root / "weights").iterdir()):
        values = np.full(SIZE, 2.5, np.float32)
        np.save(path.with_suffix(".npy"), values) if suffix == "npy" else tifffile.imwrite(
            path.with_suffix(".tif"), values
        )
        path.unlink()
    assert (source(root).split("train").read(0, rng(0)).extras["weight"] == 2.5).all()


def test_faulty_extras_are_named_before_training(root: Path) -> None:
    data = source(root)
    first = data.split("train").pairs[0].name
    Image.fromarray(np.zeros((14, 12), np.uint8)).save(root / "weights" / f"{first}.png")
    with pytest.raises(ValueError, match=rf"weights/{first}\.png' \(weight\) is 14×12 .* its image and mask are 12×14"):
        data.split("train").verify()
    (root / "weights" / f"{first}.png").unlink()
    np.save(root / "weights" / f"{first}.npy", np.full(SIZE, -1, np.float32))
    data = source(root)
    with pytest.raises(ValueError, match=rf"weights/{first}\.npy' holds weights that are negative"):
        data.split("train").verify()
    (root / "weights" / f"{first}.npy").unlink()
    with pytest.raises(ValueError, match=rf"1 of 12 images have no 'weight' in .*first: '{first}'"):
        source(root)


def test_weights_that_count_no_pixel_teach_nothing(root: Path) -> None:
    """Those of pixels without a label count none either; what is only scored needs no weights."""
    mask = np.full(SIZE, 255, np.uint8)
    mask[:3] = 1
    for key in KEYS:
        Image.fromarray(mask).save(root / "masks" / f"{key}.png")
        Image.fromarray(mask * np.uint8(mask == 255)).save(root / "weights" / f"{key}.png")
    data = source(root)
    data.split("val").verify("val")
    with pytest.raises(ValueError, match=r"every labelled pixel of the 8 training samples has the weight 0 .*weights/"):
        data.split("train").verify("train")
    Image.fromarray(mask).save(root / "weights" / f"{data.split('train').pairs[2].name}.png")
    source(root).split("train").verify("train")


@pytest.mark.parametrize(
    ("extras", "message"),
    [
        ({"nir": {"files": "nir"}}, r"extras\.nir: 'kind' is missing"),
        ({"nir": {"files": "nir", "kind": "image", "chanels": 1}}, r"extras\.nir: 'chanels' is unknown"),
        ({"nir": {"files": "nir", "kind": "sound"}}, "choose one of image, mask, weight"),
        ({"nir": EXTRAS["nir"] | {"channels": 0}}, r"data\.source\.extras\.nir\.channels=0: give the images' number"),
        ({"nir": EXTRAS["nir"] | {"channels": "one"}}, r"extras\.nir\.channels=one: give"),
        ({"mask": {"files": "nir", "kind": "mask"}}, "the name is taken"),
        ({"weight": {"files": "nir", "kind": "image"}}, "its kind must be weight"),
        ({"nir": {"files": "nowhere", "kind": "image"}}, r"no extras\.nir\.files found"),
    ],
)
def test_mistakes_are_explained(root: Path, extras: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source(root, weights=None, extras=extras)


def batches(data: DataModule) -> list[Any]:
    return list(data.train_dataloader()) + list(data.val_dataloader())


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_batches_bring_them_whatever_the_workers(root: Path) -> None:
    found = []
    for workers in (0, 2):
        recipe = CutMix(Strong(size=(8, 8)), p=0.5)
        data = DataModule(source(root), recipe, batch_size=4, num_workers=workers)
        found.append(batches(data))
    for alone, together in zip(*found, strict=True):
        assert alone.keys() == together.keys() == {"image", "mask", "name", "weight", "nir", "parts"}
        assert all(torch.equal(alone[key], together[key]) for key in alone if key != "name")
    batch = data.on_after_batch_transfer(found[0][0], 0)
    assert batch["weight"].shape == batch["mask"].shape == (4, 8, 8)
    assert batch["weight"].dtype == torch.float32
    labelled = batch["mask"] < 255
    expected = torch.where(labelled, batch["mask"] * 100 / 255, 0)
    torch.testing.assert_close(batch["weight"], expected.float())
    assert batch["nir"].shape == (4, 1, 8, 8)
    assert float(batch["nir"].max()) <= 2000 / 65535 + 1e-6
    assert torch.equal(batch["parts"][labelled], batch["mask"][labelled] + 7)


def test_batches_without_extras_have_no_such_keys(root: Path) -> None:
    data = DataModule(Folder(str(root), list(CLASSES)), Strong(size=(8, 8)), batch_size=4)
    assert set(batches(data)[0]) == {"image", "mask", "name"}


def test_weights_reach_the_loss(
    tiny: list[str], tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every pixel counts nothing, there is nothing to learn (and it would be refused)."""
    monkeypatch.setattr(FileSplit, "verify", lambda *_: None)
    for path in (tiny_root / "masks").glob("*.png"):
        target = tmp_path / "nothing" / path.name
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((32, 48), np.uint8)).save(target)
    weights = [f"data.source.weights={tmp_path / 'nothing'}"]
    result = perpixel.train([*tiny, *weights, "loss=ce"])
    [line] = (result.directory / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["train/loss"] == 0
    with pytest.raises(ValueError, match=r"Lovasz takes no pixel weights: .*Take a loss that does"):
        perpixel.train([*tiny, *weights, "loss=lovasz", f"output={tmp_path / 'refused'}"])
