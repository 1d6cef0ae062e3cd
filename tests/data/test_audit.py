from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.augment import Light
from perpixel.data import Cityscapes, Folder
from perpixel.data.audit import write_audit
from perpixel.data.audit.examples import around
from perpixel.data.audit.sample import structures
from perpixel.data.audit.summary import median_frequency

from . import layouts
from .conftest import save
from .test_leaks import textured

RULES = """
classes:
  - {name: ground, from: [0], rule: All that is <b>not</b> a pole.}
  - {name: pole, from: [1]}
  - {name: never, from: [2]}
"""


@pytest.fixture
def source(tmp_path: Path) -> Folder:
    """Ten samples of 128 × 128: a pole of 3 × 60 pixels in each; one image is cut short, one is in both splits."""
    mask = np.zeros((128, 128), np.uint8)
    mask[20:80, 50:53] = 1
    for index in range(10):
        part = "train" if index < 6 else "val"
        save(tmp_path / "images" / part / f"{index}.png", textured(0 if index == 9 else index))
        save(tmp_path / "masks" / part / f"{index}.png", Image.fromarray(mask))
    broken = tmp_path / "images" / "train" / "4.png"
    broken.write_bytes(broken.read_bytes()[:-3000])
    (tmp_path / "policy.yaml").write_text(RULES)
    return Folder(str(tmp_path), policy=str(tmp_path / "policy.yaml"), split="folders", mean=[0.5] * 3, std=[0.5] * 3)


def audit(source: Folder, path: Path, workers: int = 0) -> dict:
    return write_audit(source, Light(size=(96, 96)), path / "audit", workers, progress=False)


def test_what_is_in_the_data(source: Folder, tmp_path: Path) -> None:
    found = audit(source, tmp_path)
    assert {name: split["samples"] for name, split in found["splits"].items()} == {"train": 5, "val": 4}
    ground, pole, never = found["classes"]
    assert pole["pixels"]["train"] == pytest.approx(180 / 128**2, rel=1e-3)
    assert pole["samples"] == {"train": 1.0, "val": 1.0}
    assert (pole["structures"], pole["small"], pole["thin"]) == (9, 1.0, 1.0)
    assert (ground["structures"], ground["small"], ground["thin"]) == (9, 0.0, 0.0)
    assert never["weight"] is None
    assert pole["weight"] > 1 > ground["weight"]
    assert found["together"][1] == [1.0, 1.0, 0.0]
    assert any("never: never in the training split" in line for line in found["advice"])
    assert any(line.startswith("pole: mostly at most 8 pixels thick") for line in found["advice"])


def test_what_is_wrong_with_it(source: Folder, tmp_path: Path) -> None:
    found = audit(source, tmp_path)
    assert [fault["split"] for fault in found["faults"]] == ["train"]
    assert "4.png' cannot be decoded" in found["faults"][0]["reason"]
    assert found["leaks"] == [{"kind": "pixels", "first": ["train", "train__0"], "second": ["val", "val__9"]}]
    assert found["alignment"]["aligned"]


def test_the_page_stands_alone(source: Folder, tmp_path: Path) -> None:
    found = audit(source, tmp_path)
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert json.loads((tmp_path / "audit" / "audit.json").read_text()) == json.loads(json.dumps(found))
    assert page.count("data:image/jpeg;base64,") == 12  # six of each class that occurs
    assert "http" not in page
    assert "All that is &lt;b&gt;not&lt;/b&gt; a pole." in page
    assert "It occurs in no sample." in page


def test_processes_find_the_same(source: Folder, tmp_path: Path) -> None:
    assert audit(source, tmp_path, workers=2) == audit(source, tmp_path, workers=0)


def test_coverage_of_groups(tmp_path: Path) -> None:
    source = Cityscapes(str(layouts.cityscapes(tmp_path)))
    found = write_audit(source, Light(size=(96, 96)), tmp_path / "audit", workers=0, progress=False)
    assert found["coverage"]["aachen"]["samples"] == 2
    assert found["coverage"]["aachen"]["shows"]["bicycle"] == 2
    assert found["coverage"]["frankfurt"]["splits"] == ["val"]


def test_data_that_cannot_be_read_at_all(source: Folder, tmp_path: Path) -> None:
    for path in (tmp_path / "images").rglob("*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"none of the 10 samples can be read\. The first: .*cannot be decoded"):
        audit(source, tmp_path)


def test_structures_are_measured() -> None:
    mask = np.full((60, 60), 255, np.uint8)
    mask[5:8, 5:45] = 0  # 3 thick
    mask[20:52, 10:42] = 0  # 32 × 32
    mask[55, 55] = 0
    found = structures(mask, 2)
    assert found.areas[0].nonzero()[0].tolist() == [0, 6, 10]
    assert found.thicknesses[0].nonzero()[0].tolist() == [1, 2, 5]
    assert (found.small[0], found.thin[0]) == (121, 121)
    assert found.areas[1].sum() == 0
    whole = structures(np.zeros((40, 40), np.uint8), 1)
    assert whole.thicknesses[0].nonzero()[0].tolist() == [5]


def test_median_frequency_weights() -> None:
    pixels = np.array([[60, 40, 0, 0], [80, 15, 5, 0]])
    assert median_frequency(pixels) == [pytest.approx(0.275 / 0.7, abs=1e-3), 1.0, pytest.approx(0.275 / 0.05), None]
    assert median_frequency(np.zeros((2, 2), int)) == [None, None]


def test_cut_outs_stay_within_the_image() -> None:
    inside = np.zeros((100, 80), bool)
    inside[95:, :4] = True
    rows, columns = around(inside)
    assert (rows, columns) == (slice(36, 100), slice(0, 64))
