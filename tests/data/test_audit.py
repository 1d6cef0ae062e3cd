from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import cv2
import markupsafe
import numpy as np
import pytest
from PIL import Image

from perpixel.augment import Light
from perpixel.data import Cityscapes, Folder
from perpixel.data.audit import write_audit
from perpixel.data.audit.examples import around, outlined
from perpixel.data.audit.sample import structures
from perpixel.data.audit.summary import named
from perpixel.data.embedded.earth import LABELS as EARTH
from perpixel.data.embedded.earth import rules_of
from perpixel.data.formats.display import as_rgb
from perpixel.labels import LabelSpace
from perpixel_scenes import Scenes
from perpixel_scenes.classes import LABELS as SCENE_LABELS
from perpixel_scenes.classes import RULES as RULES_OF_SCENES

from . import layouts
from .conftest import save
from .test_leaks import textured
from .test_shapes import SIZE, scribbled

SCENES = list(SCENE_LABELS.names)
LABELS = LabelSpace(("ground", "pole"), ((90, 30, 60), (200, 160, 0)))

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
    assert found["leaks"] == [
        {"kind": "pixels", "first": ["train", "train__0"], "second": ["val", "val__9"], "pairs": 1}
    ]
    assert found["alignment"]["aligned"]


def test_unused_files_are_listed(source: Folder, tmp_path: Path) -> None:
    assert audit(source, tmp_path)["unused"] == []
    for index in range(3):
        (tmp_path / "images" / f"train/<{index}>.gif").write_bytes(b"")
    source = Folder(str(tmp_path), policy=str(tmp_path / "policy.yaml"), split="folders")
    (found,) = audit(source, tmp_path)["unused"]
    assert (found["total"], found["first"]) == (3, ("train/<0>.gif", "train/<1>.gif", "train/<2>.gif"))
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert "Images whose ending is not read (convert them, to PNG say): 3" in page
    assert "train/&lt;0&gt;.gif, train/&lt;1&gt;.gif" in page


def test_the_page_stands_alone(source: Folder, tmp_path: Path) -> None:
    found = audit(source, tmp_path)
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert json.loads((tmp_path / "audit" / "audit.json").read_text()) == json.loads(json.dumps(found))
    assert page.count("data:image/jpeg;base64,") == 12  # six of each class that occurs
    assert "http" not in page
    assert "All that is &lt;b&gt;not&lt;/b&gt; a pole." in page
    assert "It occurs in no sample." in page


@pytest.mark.slow
def test_processes_find_the_same(source: Folder, tmp_path: Path) -> None:
    many, one = (audit(source, tmp_path, workers) for workers in (2, 0))
    assert many.pop("about")
    assert one.pop("about")
    assert many == one


def test_coverage_of_groups(tmp_path: Path) -> None:
    source = Cityscapes(str(layouts.cityscapes(tmp_path)))
    found = write_audit(source, Light(size=(96, 96)), tmp_path / "audit", workers=0, progress=False)
    assert found["coverage"]["group"]["aachen"]["samples"] == 2
    assert found["coverage"]["group"]["aachen"]["shows"]["bicycle"] == 2
    assert found["coverage"]["group"]["frankfurt"]["splits"] == ["val"]


def test_coverage_of_conditions(tmp_path: Path) -> None:
    scenes = Scenes(train=6, val=2, test=2, size=(32, 32), cameras=["bus", "cctv"], weathers=["fog"])
    found = write_audit(scenes, Light(size=(32, 32)), tmp_path / "audit", workers=0, progress=False)
    samples = {name: sum(part["samples"] for part in values.values()) for name, values in found["coverage"].items()}
    assert samples == {"camera": 10, "weather": 10}
    assert set(found["coverage"]["camera"]) <= {"bus", "cctv"}
    fog = found["coverage"]["weather"]["fog"]
    assert fog["sizes"] == {"32×32": 10}
    assert sum(fog["brightness_tenths"]) == 10
    assert "Coverage by weather" in (tmp_path / "audit" / "audit.html").read_text()


def test_a_page_on_twelve_bits_in_sixteen_can_be_looked_at(tmp_path: Path, source: Folder) -> None:
    for path in (tmp_path / "images").rglob("*.png"):
        if path.name != "4.png":
            cv2.imwrite(str(path), (cv2.imread(str(path)).astype(np.uint16) * 4 + 10 * int(path.stem)))
    source = Folder(str(tmp_path), list(LABELS.names), split="folders", mean=[0.5] * 3, std=[0.5] * 3)
    found = audit(source, tmp_path)
    black, white = found["brightness_range"]
    assert (black, 400 < white < 700) == (0, True)
    assert found["splits"]["val"]["brightness_tenths"][-1] >= 1, "the brightest image is in the last tenth"
    assert "as a part of 0…" in (tmp_path / "audit" / "audit.html").read_text()
    shown = as_rgb(source.split("val").read(0, np.random.default_rng(0)).image)
    assert (shown.shape, shown.dtype, shown.min(), shown.max()) == ((128, 128, 3), np.uint8, 0, 255)


def test_conditions_of_a_users_own_files(make_folder: Callable[..., Path]) -> None:
    keys = [f"{light}_{index}" for light in ("day", "night") for index in range(4)]
    root = make_folder(keys)
    rows = [f"{key}.png,{'dry' if key.endswith(('0', '1')) else 'wet'}" for key in keys]
    (root / "weather.csv").write_text("key,weather\n" + "\n".join(rows))
    conditions = {"light": "^(day|night)", "weather": "weather.csv"}
    source = Folder(str(root), ["a", "b", "c"], conditions=conditions, group_by="_(.)")
    found = write_audit(source, Light(size=(12, 12)), root / "audit", workers=0, progress=False)["coverage"]
    assert {name: {value: part["samples"] for value, part in values.items()} for name, values in found.items()} == {
        "light": {"day": 4, "night": 4}, "weather": {"dry": 4, "wet": 4},
        "group": {"0": 2, "1": 2, "2": 2, "3": 2},
    }  # fmt: skip
    for wrong, message in (
        ("(", "no regular expression"),
        ("no.csv", r"no\.csv' does not exist"),
        ("x", "have no light"),
    ):
        with pytest.raises(ValueError, match=message):
            Folder(str(root), ["a", "b", "c"], conditions={"light": wrong})


def test_weak_labels_and_weights(tmp_path: Path) -> None:
    root = scribbled(tmp_path)
    (root / "weights").mkdir()
    for index in range(8):
        np.save(root / "weights" / f"{index}.npy", np.full(SIZE, 0.25, np.float32))
    source = Folder(str(root), ["road", "car"], masks="labels", encoding="labelme", weights="weights")
    found = write_audit(source, Light(size=(40, 50)), root / "audit", workers=0, progress=False)
    assert found["splits"]["train"]["weight"] == 0.25
    assert 0.8 < found["splits"]["train"]["unlabelled"] < 0.95
    assert not found["faults"]
    page = (root / "audit" / "audit.html").read_text()
    assert "labelled pixels' weights" in page
    assert page.count("data:image/jpeg;base64,") == 12


def test_unequal_classes_are_told(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[0, :20] = 1
    source = Folder(str(make_folder([str(i) for i in range(8)], mask=lambda _: mask)), ["much", "little"])
    found = write_audit(source, Light(size=(40, 40)), tmp_path / "audit", workers=0, progress=False)
    assert any(line.startswith("much has 79 times the training pixels of little") for line in found["advice"])


def test_data_that_cannot_be_read_at_all(source: Folder, tmp_path: Path) -> None:
    for path in (tmp_path / "images").rglob("*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(
        ValueError, match=r"none of the 10 samples .* see .*audit\.html.*The first: .*cannot be decoded"
    ):
        audit(source, tmp_path)
    assert "cannot be decoded" in (tmp_path / "audit" / "audit.html").read_text()


def rgb(root: Path) -> None:
    """Masks in colours, read as indices."""
    for path in (root / "masks").rglob("*.png"):
        Image.fromarray(np.array(LABELS.colour(np.asarray(Image.open(path))))).save(path)


def grey(root: Path) -> None:
    """The same, turned grey."""
    for path in (root / "masks").rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) * np.uint8(90)).save(path)


def binary(root: Path) -> None:
    """0 and 255 for 0 and 1; 255 is the ignore value."""
    for path in (root / "masks").rglob("*.png"):
        Image.fromarray(np.where(np.asarray(Image.open(path)) > 0, 255, 0).astype(np.uint8)).save(path)


def half_a_jpeg(root: Path) -> None:
    """Cut in half, and ended as JPEGs end: decoders fill the rest with grey, and say nothing."""
    path = root / "images" / "train" / "1.png"
    whole = io.BytesIO()
    Image.open(path).save(whole, "JPEG")
    path.unlink()
    path.with_suffix(".jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2] + b"\xff\xd9")


def one_deeper(root: Path) -> None:
    """16 bits among 8."""
    cv2.imwrite(str(root / "images" / "train" / "2.png"), np.full((128, 128, 3), 9000, np.uint16))


def other_size(root: Path) -> None:
    """A mask of another size."""
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(root / "masks" / "val" / "8.png")


def missing(root: Path) -> None:
    """A file that is gone since its folder was listed."""
    (root / "images" / "val" / "7.png").unlink()


@pytest.mark.parametrize("spoil", [rgb, grey, binary, half_a_jpeg, one_deeper, other_size, missing])
def test_what_training_refuses_is_a_fault(spoil: Callable[[Path], None], source: Folder, tmp_path: Path) -> None:
    (tmp_path / "images" / "train" / "4.png").unlink()
    (tmp_path / "masks" / "train" / "4.png").unlink()
    if spoil is not missing:
        spoil(tmp_path)
    spoilt = Folder(str(tmp_path), ["ground", "pole"], split="folders", mean=[0.5] * 3, std=[0.5] * 3)
    if spoil is missing:
        spoil(tmp_path)
    told = []
    for name in spoilt.splits:
        try:
            spoilt.split(name).verify()
        except (ValueError, OSError) as error:
            told.append((name, str(error)))
    assert told
    with pytest.raises(ValueError, match=r"audit\.html") if spoil in (rgb, grey) else nullcontext():
        audit(spoilt, tmp_path)
    found = json.loads((tmp_path / "audit" / "audit.json").read_text())
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert {fault["split"] for fault in found["faults"]} == {name for name, _ in told}
    for fault in found["faults"]:
        assert (fault["reason"].split("'")[1] if spoil is missing else fault["reason"]) in "\n".join(t for _, t in told)
        assert str(markupsafe.escape(fault["reason"])) in page
    assert [leak["kind"] for leak in found["leaks"]] == ["pixels"]  # copies are found whatever the masks hold
    assert page.index('id="faults"') < page.index('id="leaks"') < page.index("<h2>Classes</h2>")
    assert 'href="#faults"' in page


def test_the_page_says_what_it_is_of(source: Folder, tmp_path: Path) -> None:
    about = {"data": str(tmp_path), "command": "perpixel audit data=folder"}
    made = write_audit(source, Light(size=(32, 32)), tmp_path / "audit", 0, progress=False, about=about)["about"]
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert made["hash of val"] == source.split("val").fingerprint()
    assert list(made) == ["data", "command", "made", "perpixel", "hash of train", "hash of val"]
    assert f"<title>Data audit: {tmp_path}</title>" in page
    assert all(value in page for value in made.values())
    assert "crop too small to prove" in page
    assert page.count('aria-label="structures by area, pixels"') == 2


def test_near_leaks_are_shown_side_by_side(tmp_path: Path) -> None:
    for index in range(6):
        part = "train" if index < 4 else "val"
        picture = np.asarray(textured(0 if index == 5 else index))
        save(tmp_path / "images" / part / f"{index}.png", Image.fromarray(picture - picture // 50 * (index == 5)))
        save(tmp_path / "masks" / part / f"{index}.png", Image.fromarray(np.zeros((128, 128), np.uint8)))
    audit(Folder(str(tmp_path), ["a"], split="folders"), tmp_path)
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert page.count('<div class="pair"><figure>') == 1
    assert "<figcaption>train: train__0</figcaption>" in page


def test_a_wire_stays_visible_in_the_handbook() -> None:
    picture = np.full((200, 200, 3), 200, np.uint8)
    inside = np.zeros((200, 200), bool)
    inside[100] = True
    shown = outlined(picture, inside)
    assert (shown[100] == 200).all()
    assert (shown[98] == (255, 214, 0)).all()
    assert shown[20].max() < 120


def test_advice_names_a_few_classes() -> None:
    assert named(["a", "b"]) == "a, b"
    assert named([str(i) for i in range(148)]) == "0, 1, 2, 3, 4, 5, 6, 7, …and 140 more"


@pytest.mark.parametrize(
    ("labels", "rules"), [(SCENES, RULES_OF_SCENES), *((list(names), rules_of(task)) for task, names in EARTH.items())]
)
def test_a_rule_is_written_for_every_class_of_the_embedded_sets(labels: list[str], rules: dict[str, str]) -> None:
    assert list(rules) == labels


def test_structures_are_measured() -> None:
    mask = np.full((60, 60), 255, np.uint8)
    mask[5:8, 5:45] = 0  # 3 thick
    mask[20:52, 10:42] = 0  # 32 × 32
    mask[55, 55] = 0
    found = structures(mask, 2)
    assert found.areas[0].nonzero()[0].tolist() == [0, 6, 10]
    assert found.thicknesses[0].nonzero()[0].tolist() == [1, 2, 5]
    assert (found.small[0], found.thin[0]) == (121, 121)
    assert found.classes.tolist() == [0], "what a mask does not show takes no memory"
    whole = structures(np.zeros((40, 40), np.uint8), 1)
    assert whole.thicknesses[0].nonzero()[0].tolist() == [5]


def test_cut_outs_stay_within_the_image() -> None:
    inside = np.zeros((100, 80), bool)
    inside[95:, :4] = True
    rows, columns = around(inside)
    assert (rows, columns) == (slice(36, 100), slice(0, 64))
