from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perpixel.data import ADE20K, Cityscapes, COCOStuff, Folder
from perpixel.data.files.source import FileSource
from perpixel.data.masks.policy import Policy
from perpixel.data.masks.reader import IndexMasks
from perpixel.labels import LabelSpace

from . import layouts

MakeFolder = Callable[..., Path]
KEYS = [f"{i}" for i in range(10)]
VALUES = """
name: facades
ignore: [9]
classes:
  - {name: wall, from: [0, 7], colour: [1, 2, 3], rule: All that is no opening.}
  - {name: opening, from: [4]}
"""
NAMES = """
name: traffic
ignore: [sky]
rest: ignore
classes:
  - {name: vehicle, from: [car, truck, bus, train, motorcycle, bicycle], colour: [0, 0, 142]}
  - {name: person, from: [person, rider], rule: Riders count as persons.}
  - name: road
"""


@pytest.fixture
def policy(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        (tmp_path / "policy.yaml").write_text(text)
        return str(tmp_path / "policy.yaml")

    return write


def test_values_are_merged_and_ignored(make_folder: MakeFolder, policy: Callable[[str], str]) -> None:
    stored = np.array([[0, 7, 4, 9]], np.uint8)
    source = Folder(str(make_folder(KEYS, mask=lambda _: stored)), policy=policy(VALUES))
    assert source.labels.names == ("wall", "opening")
    assert source.labels.palette[0] == (1, 2, 3)
    assert source.rules == {"wall": "All that is no opening."}
    assert source.split("train").read(0, np.random.default_rng(0)).mask.tolist() == [[0, 0, 1, 255]]


def test_values_outside_the_policy_are_named(make_folder: MakeFolder, policy: Callable[[str], str]) -> None:
    root = str(make_folder(KEYS, mask=lambda _: np.array([[0, 3]], np.uint8)))
    with pytest.raises(
        ValueError, match=r"holds the value 3 in 1 pixels; this data set knows 0, 4, 7, 9\. Say in a policy"
    ):
        Folder(root, policy=policy(VALUES)).split("train").verify()
    rest = VALUES.replace("ignore: [9]", "rest: ignore")
    Folder(root, policy=policy(rest)).split("train").verify()


def test_classes_of_a_published_set_by_name(tmp_path: Path, policy: Callable[[str], str]) -> None:
    root = str(layouts.cityscapes(tmp_path))
    source = Cityscapes(root, policy=policy(NAMES))
    assert source.labels.names == ("vehicle", "person", "road")
    mask = source.split("train").read(0, np.random.default_rng(0)).mask.ravel()[:34]
    assert {int(i): int(mask[i]) for i in np.flatnonzero(mask != 255)} == {
        7: 2, 24: 1, 25: 1, 26: 0, 27: 0, 28: 0, 31: 0, 32: 0, 33: 0,
    }  # fmt: skip
    assert source.split("train").fingerprint() != Cityscapes(root).split("train").fingerprint()


def test_names_refer_to_the_folders_classes(make_folder: MakeFolder, policy: Callable[[str], str]) -> None:
    text = "classes:\n  - {name: green, from: [tree, grass]}\n  - name: car\n"
    root = str(make_folder(KEYS, mask=lambda _: np.array([[0, 1, 2, 255]], np.uint8)))
    source = Folder(root, classes=["tree", "car", "grass"], policy=policy(text))
    assert source.split("val").read(0, np.random.default_rng(0)).mask.tolist() == [[0, 1, 0, 255]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            NAMES.replace("rest: ignore", ""),
            r"does not say what becomes of \d+ classes .*first 'sidewalk'",
        ),
        (NAMES.replace("[car,", "[cra,"), "names the class 'cra'.*did you mean 'car'"),
        (NAMES.replace("rest:", "rst:"), "unknown key 'rst'; did you mean 'rest'"),
        (NAMES.replace("colour:", "color:"), "class 'vehicle': unknown key 'color'; did you mean 'colour'"),
        (NAMES.replace("[person, rider]", "[person, car]"), "says twice what becomes of 'car'"),
        (NAMES.replace("rest: ignore", "rest: drop"), "rest: 'drop' is unknown"),
        ("name: empty", "names no classes"),
        ("- 1", "must be a YAML mapping"),
        ("a: [", "is not the YAML of a policy"),
        ("classes: [{from: [car]}]", "each class needs a name"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, policy: Callable[[str], str], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cityscapes(str(layouts.cityscapes(tmp_path)), policy=policy(text))


def test_missing_things(make_folder: MakeFolder, policy: Callable[[str], str]) -> None:
    with pytest.raises(ValueError, match=r"does not exist: see data\.policy"):
        Policy.load("/nowhere/policy.yaml")
    root = str(make_folder(KEYS))
    with pytest.raises(ValueError, match=r"name your masks.*data\.source\.classes"):
        Folder(root)
    with pytest.raises(ValueError, match=r"class 'tree': no mask stores 10{12}: write"):
        Folder(root, policy=policy(f"classes: [{{name: tree, from: {10**12}}}]"))
    with pytest.raises(ValueError, match="refers to 'tree' by name, but the masks hold numbers"):
        Folder(root, policy=policy("classes: [{name: tree}]"))


def test_negative_values_may_be_ignored() -> None:
    labels = LabelSpace(("a", "b"), ((0, 0, 0), (9, 9, 9)), 255)
    reader = IndexMasks(labels, {-1: 255, 0: 0, 1: 1})
    assert reader.decode(np.array([[-1, 0, 1]], np.int16), "m").tolist() == [[255, 0, 1]]
    assert reader.decode(np.array([[0, 1]], np.uint8), "m").tolist() == [[0, 1]]
    for wrong in (-2, 2):
        with pytest.raises(ValueError, match=rf"'m' holds the value {wrong} in 1 pixels"):
            reader.decode(np.array([[0, wrong]], np.int16), "m")
    with pytest.raises(ValueError, match=r"'m' holds the value 255 in 1 pixels"):
        reader.decode(np.array([[0, 255]], np.uint8), "m")


def test_single_labels_and_bare_names_need_no_list(make_folder: MakeFolder, policy: Callable[[str], str]) -> None:
    short = Policy.load(policy("ignore: 9\nclasses: [{name: wall, from: 0}, {name: opening, from: 4}]"))
    assert (short.origins, short.ignored) == (((0,), (4,)), (9,))
    assert Policy.load(policy("ignore: sky\nclasses: [road, {name: car, from: van}]")).origins == (("road",), ("van",))
    assert Policy.load(policy("classes: [road]")).ignored == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("classes: [{name: wall, colour: red}]", r"class 'wall': colour: 'red' is no colour.*as \[220, 20, 60\]"),
        ("classes: [{name: wall, colour: [1, 2]}]", r"class 'wall': colour: \[1, 2\]"),
        ("classes: [{name: wall, colour: [1, 2, 300]}]", r"class 'wall': colour: \[1, 2, 300\]"),
        ("classes: [{name: wall, colour: 7}]", "class 'wall': colour: 7 is no colour"),
        (
            "classes: {wall: [0]}",
            r"classes is a dict: write 'classes:' as a list of names or of mappings, as '- \{name",
        ),
        ("classes: wall", "classes is a str: write"),
        ("classes: [wall, 7]", "class 1 reads 7: write"),
        ("classes: [{name: wall, from: [1.5]}]", r"class 'wall': 1\.5 is no stored value or name"),
        ("classes: [{name: wall, from: {a: 1}}]", r"class 'wall': \{'a': 1\} is no stored value or name"),
        ("classes: [{name: wall, from: []}]", "class 'wall': 'from' is empty, so nothing becomes this class"),
        ("classes: [road, {name: wall, from: }]", "class 'wall': 'from' is empty"),
        (
            "classes: [{name: wall, rule: [tall, grey]}]",
            r"class 'wall': rule: \['tall', 'grey'\] is no text: write one",
        ),
        ("classes: [{name: wall, rule: }]", "class 'wall': rule: None is no text"),
        ("ignore: [yes]\nclasses: [wall]", "ignore: True is no stored value or name.*in quotes"),
        ("ignore: {a: 1}\nclasses: [wall]", "ignore: .* is no stored value or name"),
    ],
)
def test_slips_in_a_policy_are_explained(policy: Callable[[str], str], text: str, told: str) -> None:
    with pytest.raises(ValueError, match=rf"policy '.*policy\.yaml'.*{told}"):
        Policy.load(policy(text))


def _mask(source: FileSource, values: int) -> list[int]:
    """The first so many pixels of the validation split's first mask."""
    return source.split("val").read(0, np.random.default_rng(0)).mask.ravel()[:values].tolist()


def test_numbers_are_what_the_files_of_a_published_set_store(tmp_path: Path, policy: Callable[[str], str]) -> None:
    walls = policy("ignore: [0]\nrest: ignore\nclasses: [{name: wall, from: [1]}]")  # class index 0
    assert _mask(ADE20K(str(layouts.ade20k(tmp_path / "ade")), policy=walls), 3) == [255, 0, 255]
    stuff = policy("ignore: [255]\nrest: ignore\nclasses: [{name: a, from: [12]}, {name: b, from: [181]}]")
    assert _mask(COCOStuff(str(layouts.coco_stuff_164k(tmp_path / "coco")), policy=stuff), 4) == [255, 0, 1, 255]
    stuff = policy("ignore: [0]\nrest: ignore\nclasses: [{name: a, from: [13]}, {name: b, from: [182]}]")
    ten = COCOStuff(str(layouts.coco_stuff_10k(tmp_path / "ten")), version="10k", policy=stuff)
    assert _mask(ten, 4) == [255, 255, 0, 1]


def test_numbers_of_cityscapes_are_those_of_its_files(tmp_path: Path, policy: Callable[[str], str]) -> None:
    roads = policy("ignore: [26, 0]\nrest: ignore\nclasses: [{name: road, from: [7]}]")
    root = layouts.cityscapes(tmp_path)
    with pytest.raises(ValueError, match=r"ignore: 26 is a stored value, but .* write the class's name"):
        Cityscapes(str(root), policy=roads)  # one image has train ids
    for path in root.rglob("aachen_000001*"):
        path.unlink()
    assert np.flatnonzero(np.array(_mask(Cityscapes(str(root), policy=roads), 34)) != 255).tolist() == [7]
    for path in root.rglob("*_labelIds.png"):
        layouts.label_map(path.with_name(path.name.replace("labelIds", "labelTrainIds")), [0, 13, 255])
        path.unlink()
    cars = policy("ignore: [0, 255]\nrest: ignore\nclasses: [{name: car, from: [13]}]")
    assert _mask(Cityscapes(str(root), policy=cars), 3) == [255, 0, 255]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [{name: x, from: [a, -1]}, b]", r"class 'x': the data set stores no -1; its values are 0…1, 255"),
        ("classes: [{name: x, from: [a, 300]}, b]", r"class 'x': the data set stores no 300"),
        ("ignore: [7]\nclasses: [a, b]", r"ignore: the data set stores no 7"),
        ("classes: [{name: x, from: [a, 255]}, b]", "class 'x': what the data set stores as 255 has no label"),
        (
            "classes: [{name: x, from: [a]}, {name: y, from: [0, b]}]",
            "twice what becomes of the data set's class 'a': as 'a' in class 'x' and as 0 in class 'y'. Leave one",
        ),
        ("classes: [{name: x, from: [a, 0]}, b]", "as 'a' in class 'x' and as 0 in class 'x'"),
        ("ignore: 1\nclasses: [a, b]", "class 'b': as 1 in ignore and as 'b' in class 'b'"),
    ],
)
def test_numbers_are_held_against_the_data_set(
    make_folder: MakeFolder, policy: Callable[[str], str], text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Folder(str(make_folder(KEYS)), classes=["a", "b"], policy=policy(text))


def test_two_stored_values_of_one_class(make_folder: MakeFolder, policy: Callable[[str], str]) -> None:
    root = str(make_folder(KEYS, mask=lambda _: np.array([[0, 255]], np.uint8)))
    options = {"classes": ["none", "thing"], "binary": True}
    both = Folder(root, policy=policy("classes: [{name: x, from: [1, 255]}, {name: y, from: 0}]"), **options)
    assert _mask(both, 2) == [1, 0]
    with pytest.raises(ValueError, match=r"as 1 in ignore and as 255 in class 'x', and the data set takes both values"):
        Folder(root, policy=policy("ignore: 1\nclasses: [{name: x, from: 255}, none]"), **options)


@pytest.mark.parametrize("options", [{"encoding": "colour"}, {"encoding": "labelme"}])
def test_colours_and_shapes_have_no_numbers(
    make_folder: MakeFolder, policy: Callable[[str], str], options: dict[str, str]
) -> None:
    root = make_folder(KEYS)
    for key in KEYS:
        (root / "masks" / f"{key}.json").write_text("{}")
    with pytest.raises(ValueError, match=r"class 'x': 0 is a stored value, but .* write the class's name \(in quotes"):
        Folder(str(root), classes=["0", "b"], policy=policy("classes: [{name: x, from: 0}, b]"), **options)


def test_a_policy_alone_names_shapes(make_folder: MakeFolder, policy: Callable[[str], str]) -> None:
    with pytest.raises(ValueError, match="class 'x': 7 is a stored value, but"):
        Policy.load(policy("classes: [{name: x, from: 7}]")).by_name()
    assert Policy.load(policy("classes: [{name: x, from: '7'}]")).by_name() == {"7": 0}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"encoding": "colour"},
            r"policy 'facades' .* masks hold neither: .*data\.source\.classes and data\.source\.palette",
        ),
        (
            {"binary": True},
            r"data\.source\.binary is about data\.source\.classes.*'from: \[255\]'.*in policy 'facades'",
        ),
        ({"reduce_zero_label": True}, r"data\.source\.reduce_zero_label is about .* write 'ignore: \[0\]' in policy"),
        (
            {"palette": [[0, 0, 0], [9, 9, 9]]},
            r"data\.source\.palette is about .* write each class's 'colour' in policy",
        ),
    ],
)
def test_a_policy_alone_says_what_values_mean(
    make_folder: MakeFolder, policy: Callable[[str], str], options: dict[str, object], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        Folder(str(make_folder(KEYS)), policy=policy(VALUES), **options)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("classes: [{name: [1]}]", r"class 0, name: \[1\] is no text"),
        ("classes: [road, {name: 7}]", "class 1, name: 7 is no text"),
        ("classes: [{name: on}]", "class 0, name: True is no text: write a name, in quotes"),
        ("name: [1]\nclasses: [road]", r"name: \[1\] is no text"),
    ],
)
def test_names_are_text(policy: Callable[[str], str], text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Policy.load(policy(text))
