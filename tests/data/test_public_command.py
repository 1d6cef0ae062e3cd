"""The published layouts, and the user's own, read through the public command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import perpixel

from . import layouts
from .conftest import save

rng = np.random.default_rng(0)

OWN = {
    "groups in folds": [
        'data.source.group_by="(cam\\d)"', "data.source.fractions=[0.6,0.2,0.2]",
        "data.source.folds=3", "data.source.fold=1",
    ],
    "a column, stratified": ["data.source.group_by=meta.csv:site", "data.source.stratify=true"],
    "a saved draw": ["data.source.split_file=drawn.json", "data.source.stratify=true"],
}  # fmt: skip
SMALL = [
    "data.size=[32,32]",
    "data.batch_size=2",
    "data.num_workers=0",
    "model=starter_unet",
    "model.width=4",
    "model.convs_per_block=1",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
]
SETS: dict[str, tuple[Callable[[Path], Path], list[str]]] = {
    "voc": (layouts.voc, ["data.source.augmented=true"]),
    "cityscapes": (layouts.cityscapes, ["augment=copy_paste", "augment.classes=[bicycle]"]),
    "ade20k": (layouts.ade20k, ["augment=medical"]),
    "coco_stuff": (layouts.coco_stuff_164k, ["augment=cutmix", "data.policy={policy}"]),
    "coco_stuff 10k": (layouts.coco_stuff_10k, ["augment=satellite", "data.source.version=10k"]),
}
POLICY = "rest: ignore\nclasses: [{name: person}, {name: wooden, from: [wood, table]}]\n"


@pytest.mark.parametrize("name", SETS)
def test_trains_on_a_miniature_copy(name: str, tmp_path: Path) -> None:
    write, overrides = SETS[name]
    (tmp_path / "policy.yaml").write_text(POLICY)
    result = perpixel.train(
        [
            f"data={name.split()[0]}",
            f"data.source.root={write(tmp_path / 'data')}",
            *(override.format(policy=tmp_path / "policy.yaml") for override in overrides),
            "data.size=[64,64]",
            "data.batch_size=1",
            "data.num_workers=0",
            "model=starter_unet",
            "model.width=4",
            "model.convs_per_block=1",
            "trainer.max_epochs=1",
            "trainer.enable_progress_bar=false",
            f"output={tmp_path / 'runs'}",
        ]
    )
    manifest = json.loads((Path(result.directory) / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert set(manifest["data"]) == {"train", "val"}


def own(root: Path) -> Path:
    """18 files of six cameras on three sites."""
    for index in range(18):
        mask = np.full((32, 32), index % 2, np.uint8)
        save(
            root / "images" / f"cam{index // 3}_{index}.png",
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)),
        )
        save(root / "masks" / f"cam{index // 3}_{index}.png", Image.fromarray(mask))
    rows = [f"cam{index // 3}_{index},site{index % 3}" for index in range(18)]
    (root / "meta.csv").write_text("key,site\n" + "\n".join(rows))
    return root


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in OWN])
def test_splits_of_ones_own_data(name: str, tmp_path: Path) -> None:
    """Twice the same, whatever the run's seed."""
    data = ["data=folder", f"data.source.root={own(tmp_path / 'data')}", "data.source.classes=[ground,tree]"]
    manifests = []
    for seed in (0, 1):
        result = perpixel.train([*data, *OWN[name], *SMALL, f"seed={seed}", f"output={tmp_path / f'runs{seed}'}"])
        manifests.append(json.loads((result.directory / "manifest.json").read_text()))
    assert set(manifests[0]["data"]) == {"train", "val", "test"}
    assert manifests[0]["data"] == manifests[1]["data"]
    assert set(json.loads((result.directory / "splits.json").read_text())) == {"train", "val", "test"}
    if "draw" in name:
        drawn = json.loads((tmp_path / "data" / "drawn.json").read_text())
        assert sum(len(drawn[part]) for part in ("train", "val", "test")) == 18


def test_all_faulty_files_of_all_splits_stand_in_the_run_directory(tmp_path: Path) -> None:
    root = own(tmp_path / "data")
    for number in (*range(9), 17):
        (root / "masks" / f"cam{number // 3}_{number}.png").write_bytes(b"")
    lists = {"train": range(12), "val": range(12, 18)}
    for name, numbers in lists.items():
        (root / f"{name}.txt").write_text("\n".join(f"cam{number // 3}_{number}" for number in numbers))
    data = [
        "data=folder", f"data.source.root={root}", "data.source.classes=[ground,tree]", "data.source.split=lists",
        "data.source.lists={train: train.txt, val: val.txt}", *SMALL,
    ]  # fmt: skip
    for more, told in (
        ([], "^train: 9 of 12 pairs"),
        (
            ["data.on_bad_file=skip", "data.max_bad=0.3"],
            r"up to a share of .*max_bad=0\.3 .*max_bad=0\.75",
        ),
    ):
        run = tmp_path / f"refused{len(more)}"
        with pytest.raises(ValueError, match=told) as error:
            perpixel.train([*data, *more, f"hydra.run.dir={run}"])
        assert f"The whole list stands in '{run / 'bad_files.txt'}'" in str(error.value)
        assert "…and 4 more." in str(error.value)
        listing = (run / "bad_files.txt").read_text()
        faulty = [number for number in range(18) if f"_{number}.png' cannot be decoded" in listing]
        assert faulty == ([*range(9), 17] if not more else [*range(9)]), "val stays within the share"
    assert "val: 1 of 6 pairs" in (tmp_path / "refused0" / "bad_files.txt").read_text()


def test_copies_on_both_sides_of_a_split_are_told_before_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever they are called; and again when the same data are trained on again."""
    root = own(tmp_path / "data")
    images = sorted((root / "images").iterdir())
    for path in images[1:]:
        path.write_bytes(images[0].read_bytes() if path.stem in ("cam4_12", "cam5_17") else path.read_bytes())
    (root / "train.txt").write_text("\n".join(path.stem for path in images if path.stem < "cam4"))
    (root / "val.txt").write_text("\n".join(path.stem for path in images if path.stem > "cam4"))
    data = [
        "data=folder", f"data.source.root={root}", "data.source.classes=[ground,tree]", "data.source.split=lists",
        "data.source.lists={train: train.txt, val: val.txt}", *SMALL,
    ]  # fmt: skip
    for again in range(2):
        caplog.clear()
        perpixel.train([*data, f"output={tmp_path / f'runs{again}'}"])
        assert (
            "the splits share images, 2 pairs of samples in all: 'cam0_0' of train is 'cam4_12' of val" in caplog.text
        )


def test_quarantined_files_stand_in_the_manifest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = own(tmp_path / "data")
    cut = root / "images" / "cam1_4.png"
    cut.write_bytes(cut.read_bytes()[:-300])
    (root / "images" / "new.heic").write_bytes(b"")
    data = ["data=folder", f"data.source.root={root}", "data.source.classes=[ground,tree]", *SMALL]
    with pytest.raises(ValueError, match=r"1 of \d+ pairs are faulty:\n'.*cam1_4\.png' cannot be decoded"):
        perpixel.train([*data, f"output={tmp_path / 'refused'}"])
    skip = ["data.on_bad_file=skip", "data.max_bad=0.5"]
    result = perpixel.train([*data, *skip, f"output={tmp_path / 'runs'}"])
    [reason] = json.loads((result.directory / "manifest.json").read_text())["bad_files"]
    assert "cam1_4.png' cannot be decoded" in reason
    assert (result.directory / "bad_files.txt").read_text() == f"{reason}\n"
    assert f"1 faulty pairs are left out; {result.directory / 'bad_files.txt'} tells which" in caplog.text
    assert "images whose ending is not read (convert them, to PNG say), 1 in all: 'new.heic'." in caplog.text
