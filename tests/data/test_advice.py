"""Refusals of a stranger's folder show the override, the lines or the command that fix it, and these do."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.data import Folder
from perpixel.data.files.inspection import BadFiles, verify_splits
from perpixel.data.folder.advice import key_advice
from perpixel.labels import LabelSpace, policy_for

from .conftest import save

MakeFolder = Callable[..., Path]
CLASSES = ["ground", "tree", "car"]
KEYS = [f"photo{i}" for i in range(8)]


def refused(root: Path, classes: object = CLASSES, **options: object) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the caller looks at the text
        verify_splits(Folder(str(root), classes, **options), training=True)  # type: ignore[arg-type]
    return str(error.value)


def overrides_in(told: str) -> dict[str, str]:
    """The ``data.source`` overrides that a message shows, unquoted as a shell and Hydra would."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    found = re.findall(r"""'data\.source\.\w+="[^"]*"'|data\.source\.\w+=\S+""", told)
    parsed = [OverridesParser.create().parse_override(shlex.split(one.rstrip("?.;,"))[0]) for one in found]
    return {one.key_or_group.removeprefix("data.source."): one.value() for one in parsed}


def arrays(root: Path, part: str, make: Callable[[np.ndarray], np.ndarray]) -> None:
    for path in list((root / part).iterdir()):
        np.save(path.with_suffix(".npy"), make(np.array(Image.open(path))))
        path.unlink()


@pytest.mark.parametrize("stored", [[0, 2, 7], [-1, 0, 1, 2], [0, 1000, 2000], [0, 127, 255], [3, 4, 9, 255]])
def test_ids_with_gaps_get_a_policy_that_reads_them(stored: list[int], make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    arrays(root, "masks", lambda mask: np.resize(np.array(stored, np.int16), mask.shape))
    told = refused(root)
    lines = [line[4:] for line in told.splitlines() if line.startswith("    ")]
    assert lines
    assert "data.policy=labels.yaml data.source.classes=null" in told
    (root / "labels.yaml").write_text("\n".join(lines))
    source = Folder(str(root), policy=str(root / "labels.yaml"))
    verify_splits(source, training=True)
    assert source.labels.names == tuple(CLASSES)


def test_a_policy_is_written_for_what_it_can_fix() -> None:
    labels = LabelSpace(("on", "it's"), ((0, 0, 0), (9, 9, 9)))
    assert "- {name: 'on', from: 3}\n      - {name: 'it''s', from: 5}" in policy_for(labels, {3, 5})
    assert "binary=nonzero" in policy_for(labels, {0, 1, 2, 3})
    for values in ({0, 255}, {0, 1}, {1, 2}, {0, 1, 255}, set(range(200))):
        assert policy_for(labels, values) == ""


@pytest.mark.parametrize("ids", [np.uint8, np.uint16, np.int32, "colour"])
def test_instance_masks_become_two_classes(ids: object, make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    if ids == "colour":
        arrays(root, "masks", lambda mask: np.stack([mask * 70, mask, mask * 0], 2))
    else:
        arrays(root, "masks", lambda mask: np.resize(np.array([0, 5, 255], ids), mask.shape))
    source = Folder(str(root), ["ground", "cell"], binary="nonzero")
    verify_splits(source, training=True)
    mask = source.split("train").read(0, np.random.default_rng(0)).mask
    stored = np.load(root / "masks" / f"{source.split('train').sample_name(0)}.npy")
    np.testing.assert_array_equal(mask, (stored.reshape(*mask.shape, -1) != 0).any(2))
    with pytest.raises(ValueError, match="binary=nonzero needs two classes"):
        Folder(str(root), CLASSES, binary="nonzero")
    with pytest.raises(ValueError, match="choose false, true or nonzero"):
        Folder(str(root), CLASSES, binary="nonzro")  # type: ignore[arg-type]


@pytest.mark.parametrize("binary", [False, True])
def test_ids_of_objects_name_the_key(binary: bool, make_folder: MakeFolder) -> None:
    root = make_folder(KEYS, lambda rng: rng.integers(0, 12, (12, 14)).astype(np.uint8))
    assert "data.source.binary=nonzero" in refused(root, ["ground", "cell"], binary=binary)


def test_masks_in_jpeg_are_named_and_gifs_are_read(make_folder: MakeFolder) -> None:
    root = make_folder(KEYS, lambda rng: rng.choice([0, 2], (12, 14)).astype(np.uint8))
    stored = {path.stem: np.array(Image.open(path)) for path in (root / "masks").iterdir()}
    for path in list((root / "masks").iterdir()):
        Image.open(path).save(path.with_suffix(".gif"))
        path.unlink()
    sample = Folder(str(root), CLASSES).split("train").read(0, np.random.default_rng(0))
    np.testing.assert_array_equal(sample.mask, stored[sample.name])
    (root / "masks" / "photo3.gif").rename(root / "masks" / "photo3.jpg")
    assert re.search(r"'photo3'.*1 files among the masks .*'photo3\.jpg': JPEG blurs.*convert\('L'\)", refused(root))
    for path in list((root / "masks").glob("*.gif")):
        path.rename(path.with_suffix(".jpeg"))
    assert re.search(
        r"no masks found.*8 JPEG files lie there.*convert\('L'\).*data\.source\.binary=true", refused(root)
    )


def test_whole_floats_are_labels_and_others_say_how(make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    arrays(root, "masks", lambda mask: mask.astype(np.float32))
    verify_splits(Folder(str(root), CLASSES), training=True)
    path = root / "masks" / "photo0.npy"
    np.save(path, np.full((12, 14), 0.3))
    assert re.search(r"photo0\.npy' has float64 values, not all of them whole.*\(a > 0\.5\)", refused(root))
    np.save(path, np.full((12, 14), np.nan))
    assert re.search(r"168 are NaN or infinite.*nan_to_num", refused(root))


def test_axes_in_another_order_are_named(make_folder: MakeFolder) -> None:
    root = make_folder(KEYS, lambda rng: rng.integers(0, 3, (20, 20)).astype(np.uint8))
    arrays(root, "images", lambda image: image.transpose(2, 0, 1))
    told = refused(root)
    assert re.search(r"shape \(3, 20, 20\), which looks like \(C, H, W\).*a\.transpose\(1, 2, 0\)", told)
    assert "channels=20" not in told


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda mask: mask[None], r"shape \(1, 12, 14\), and masks are \(H, W\).*a\[0\]"),
        (lambda mask: np.eye(3, dtype=np.uint8)[mask].transpose(2, 0, 1), r"one-hot.*a\.argmax\(0\)"),
        (lambda mask: np.eye(3, dtype=np.uint8)[mask], r"one-hot.*a\.argmax\(-1\)"),
        (lambda mask: np.eye(2, dtype=np.uint8)[mask % 2], r"one-hot.*a\.argmax\(-1\)"),
        (lambda mask: np.eye(7, dtype=np.uint8)[mask], r"one-hot.*a\.argmax\(-1\)"),
    ],
)
def test_planes_of_a_mask_are_named(make: Callable, told: str, make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    arrays(root, "masks", make)
    assert re.search(told, refused(root))


RENAMED: dict[str, tuple[str, str]] = {  # of images and masks
    "suffix": ("{}", "{}_mask"), "both": ("{}_img", "{}_gt"), "prefix": ("{}", "mask_{}"), "two": ("img_{}", "lab_{}"),
    "folder": ("day/{}", "{}"), "ending": ("{}", "{}.jpg"), "brackets": ("{}", "{}(1)"),
    "Cityscapes": ("a/{}_left", "a/{}_ids"),
}  # fmt: skip


@pytest.mark.parametrize("how", RENAMED)
def test_names_that_differ_show_the_patterns_that_pair_them(how: str, make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    for part, form in zip(("images", "masks"), RENAMED[how], strict=True):
        for path in list((root / part).iterdir()):
            target = root / part / f"{form.format(path.stem)}.png"
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
    told = refused(root)
    assert "8 of 8 images have theirs" in told
    verify_splits(Folder(str(root), CLASSES, **overrides_in(told)), training=True)  # type: ignore[arg-type]


def test_no_pattern_is_made_up() -> None:
    assert key_advice(["a", "b"], ["x1", "y2"]) == ""
    assert key_advice(["p1", "p2", "p3"], ["p1", "p2"]) == ""
    assert "2 of 3" in key_advice(["p1", "p2", "p3"], ["p1_m", "p2_m"])


def moved(root: Path, **names: str) -> Path:
    for part, name in names.items():
        (root / part).rename(root / name)
    return root


def test_misspelt_folders_list_those_that_are_there(make_folder: MakeFolder) -> None:
    root = moved(make_folder(KEYS), images="imgs", masks="labels")
    (root / "notes").mkdir()
    told = refused(root)
    assert "imgs/ (8 such files), labels/ (8 such files), notes/ (0 such files)" in told
    assert "Did you mean data.source.images=imgs?" in told
    assert "Did you mean data.source.masks=labels?" in refused(root, images="imgs")
    assert "data.source.masks=labels?" in refused(root, images="imgs", masks="lables")
    assert "data.source.images" in refused(root, images="img/*.png")


def test_a_misspelt_root_lists_its_neighbours(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder(KEYS)
    inner = tmp_path / "inner" / "streets"
    inner.mkdir(parents=True)
    for part in ("images", "masks"):
        shutil.copytree(root / part, inner / part)
    assert f"data.source.root={inner}?" in refused(inner.parent / "streeets")
    assert f"data.source.root={inner}." in refused(inner.parent)
    assert "is a file: name its folder" in refused(root / "images" / "photo0.png")
    assert "no weights found" in refused(root, weights="wieghts")


def test_few_images_get_advice_that_works(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder(["a"])
    told = refused(root)
    assert "data.overfit=1 data.source.fractions=[1,0,0]" in told
    assert Folder(str(root), CLASSES, fractions=[1, 0, 0]).splits == ("train",)
    make_folder(["a", "b"])
    assert "data.source.fractions=[0.5,0.5,0]" in refused(root)
    assert Folder(str(root), CLASSES, fractions=[0.5, 0.5, 0]).splits == ("train", "val")
    make_folder(["a", "b", "c", "d"])
    assert "data.source.folds=3" in refused(root, folds=5)
    assert Folder(str(root), CLASSES, folds=3).splits == ("train", "val", "test")


@pytest.mark.parametrize("part", ["images", "masks"])
def test_where_every_file_is_faulty_all_are_listed(part: str, make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    for path in (root / part).iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(BadFiles) as error:
        verify_splits(Folder(str(root), CLASSES), training=True)
    assert all(f"{key}.png" in error.value.listing for key in KEYS)


def test_numbers_are_names(make_folder: MakeFolder) -> None:
    assert Folder(str(make_folder(KEYS)), [0, 1, "car"]).labels.names == ("0", "1", "car")


def test_single_masks_keep_what_they_are(tmp_path: Path) -> None:
    """A palette of colours is read by index, as in PNG."""
    from perpixel.data.formats.decode import read_values

    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    save(tmp_path / "a.gif", image)
    assert read_values(tmp_path / "a.gif").tolist() == [[0, 1, 2]]
