from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.data import Folder
from perpixel.data.base import Sample
from perpixel.evaluation.baselines import ColourTable, measure_baselines


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def source_of(root: Path, level: int, spread: int, depth: type[np.unsignedinteger] = np.uint8) -> Folder:
    """Bright squares on a ground of half their brightness, with noise."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in range(12):
        mask = np.zeros((30, 40), np.uint8)
        mask[5:20, 5:25] = 1
        image = rng.normal(np.where(mask, level, level / 2), spread).clip(0, None).astype(depth)
        Image.fromarray(image).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    return Folder(str(root), ["ground", "square"], channels=1)


@pytest.mark.parametrize(("level", "depth"), [(160, np.uint8), (600, np.uint16)])
def test_a_threshold_is_found_at_any_depth(level: int, depth: type[np.unsignedinteger], tmp_path: Path) -> None:
    found = measure_baselines(source_of(tmp_path, level, level // 40, depth), ["val", "test"])
    assert found["val"]["colour_table"]["mIoU"] > 0.99
    assert found["val"]["majority"]["mIoU"] == pytest.approx(0.75 / 2)
    assert found["val"]["majority"]["IoU/square"] == 0
    assert found["test"].keys() == {"majority", "colour_table"}


def test_where_colours_say_nothing_the_table_is_no_better(tmp_path: Path) -> None:
    found = measure_baselines(source_of(tmp_path, 0, 30), ["val"])
    assert found["val"]["colour_table"]["mIoU"] < 0.55


def test_it_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(tmp_path, 160, 4)
    first = measure_baselines(source, ["val"])
    monkeypatch.setattr("perpixel.evaluation.baselines._measured", lambda *_: pytest.fail("measured again"))
    assert measure_baselines(source, ["val"]) == first


def test_many_bands_and_unseen_colours() -> None:
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, (40, 40)).astype(np.uint8)
    image = (mask[..., None] * 60 + rng.integers(0, 20, (40, 40, 12))).astype(np.float32)
    table = ColourTable([Sample(image, mask, "a")], 3)
    assert (table(image) == mask).mean() > 0.95
    assert table(image + 500).shape == mask.shape


def test_a_run_is_held_against_both(tmp_path: Path) -> None:
    import json

    from perpixel.reporting.against import final_line, verdict
    from perpixel.tracking.runs import load_run

    baselines = {"val": {"majority": {"mIoU": 0.4}, "colour_table": {"mIoU": 0.8}}}
    (tmp_path / "metrics.json").write_text(json.dumps({"val": {"mIoU": 0.6}, "baselines": baselines}))
    run = load_run(tmp_path)
    assert final_line(run) == "val mIoU 0.6000 (majority class 0.4000, colour table 0.8000)"
    assert run.not_above("val") == ("colour_table",)
    assert "not above the colour table" in verdict(run)
    (tmp_path / "metrics.json").write_text(json.dumps({"val": {"mIoU": 0.9}, "baselines": baselines}))
    assert verdict(load_run(tmp_path)) == ""
