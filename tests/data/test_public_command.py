"""The published layouts, and the user's own, read through the public command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import perpixel

from . import layouts

SETS: dict[str, tuple[Callable[[Path], Path], list[str]]] = {
    "voc": (layouts.voc, ["data.source.augmented=true"]),
    "cityscapes": (layouts.cityscapes, ["augment=copy_paste", "augment.classes=[18]"]),
    "ade20k": (layouts.ade20k, ["augment=medical"]),
    "coco_stuff": (layouts.coco_stuff_164k, ["augment=cutmix", "data.source.policy={policy}"]),
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
