from __future__ import annotations

import json
import os
import re
import shutil
import unicodedata
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.data import Folder
from perpixel.data.loading.canary import choose_canary
from perpixel.data.unused import Unused, warning_of_unused

from .conftest import save

CLASSES = ["ground", "tree", "car"]
KEYS = [f"photo{i}" for i in range(20)]
rng = np.random.default_rng
MakeFolder = Callable[..., Path]


def names(source: Folder) -> dict[str, list[str]]:
    return {name: [pair.name for pair in source.split(name).pairs] for name in source.splits}


def test_reads_pairs(make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    split = Folder(str(root), CLASSES).split("train")
    sample = split.read(0, rng(0))
    assert sample.image.shape == (12, 14, 3)
    np.testing.assert_array_equal(sample.mask, np.array(Image.open(root / "masks" / f"{sample.name}.png")))
    assert split.shape(0) == (12, 14)
    split.verify()


def test_fractions_are_a_stable_draw(make_folder: MakeFolder) -> None:
    root = str(make_folder(KEYS))
    first = names(Folder(root, CLASSES))
    assert {name: len(part) for name, part in first.items()} == {"train": 14, "val": 3, "test": 3}
    assert sorted(chain(*first.values())) == sorted(KEYS)
    assert names(Folder(root, CLASSES)) == first != names(Folder(root, CLASSES, split_seed=1))
    assert Folder(root, CLASSES, fractions=[0.8, 0.2, 0]).splits == ("train", "val")


def test_a_missing_split_says_how_to_get_it(make_folder: MakeFolder) -> None:
    source = Folder(str(make_folder(KEYS)), CLASSES, fractions=[0.8, 0.2, 0])
    with pytest.raises(ValueError, match=r"no 'test' split, only val, train|no 'test' split, only train, val"):
        source.split("test")


def test_split_by_folders(make_folder: MakeFolder) -> None:
    root = make_folder(["train/a", "train/b", "valid/a", "test/c"])
    assert names(Folder(str(root), CLASSES, split="folders")) == {
        "train": ["train__a", "train__b"], "val": ["valid__a"], "test": ["test__c"],
    }  # fmt: skip
    make_folder(["other/x"])
    with pytest.raises(ValueError, match="found 'other/x'"):
        Folder(str(root), CLASSES, split="folders")


def test_split_by_lists(make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    (root / "train.txt").write_text("photo3\nphoto5.png\n\n")
    (root / "val.txt").write_text("photo4\n")
    lists = {"train": "train.txt", "val": "val.txt"}
    assert names(Folder(str(root), CLASSES, split="lists", lists=lists)) == {
        "train": ["photo3", "photo5"], "val": ["photo4"],
    }  # fmt: skip
    (root / "val.txt").write_text("photo3\n")
    with pytest.raises(ValueError, match="'photo3' stands in the lists of train and val"):
        Folder(str(root), CLASSES, split="lists", lists=lists)
    (root / "val.txt").write_text("nothing\n")
    with pytest.raises(ValueError, match=r"name no pair, first: 'nothing'.*Keys look like 'photo0'"):
        Folder(str(root), CLASSES, split="lists", lists=lists)


@pytest.mark.parametrize("masks", ["masks", "masks/**/*.png", "**/masks/**/*.png"])
def test_linked_folders_are_searched(masks: str, make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder(["a", "b"])
    for kind in ("images", "masks"):
        for name in ("c", "day/d"):
            (example,) = (root / kind).glob("a.*")
            save(tmp_path / "elsewhere" / kind / f"{name}.png", Image.open(example))
        (root / kind / "more").symlink_to(tmp_path / "elsewhere" / kind)
        (root / kind / "again").symlink_to(root / kind / "more" / "day")
        (root / kind / "loop").symlink_to(root / kind)
        (root / kind / "itself").symlink_to(root / kind / "itself")
    source = Folder(str(root), CLASSES, masks=masks, mask_key=r"(?:masks/)?(.+)", fractions=[0.5, 0.5, 0])
    assert sorted(chain(*names(source).values())) == ["a", "again__d", "b", "more__c", "more__day__d"]


def test_images_and_masks_of_no_pair_are_told(make_folder: MakeFolder) -> None:
    root = make_folder([*KEYS, "lonely"])
    (root / "images" / "lonely.png").unlink()
    for name in ("new.HEIC", "photo3.dng", "README.txt", "Thumbs.db", "list.json", "._new.heic", ".cache/a.gif"):
        (root / "images" / name).parent.mkdir(exist_ok=True)
        (root / "images" / name).write_bytes(b"")
    save(root / "images" / "other.png", Image.new("RGB", (14, 12)))
    source = Folder(str(root), CLASSES, image_key=r"(photo\d+|new)", mask_key=r"(photo\d+|lonely)")
    assert [(kind.total, kind.first) for kind in source.unused] == [
        (1, ("new.HEIC",)), (1, ("other.png",)), (1, ("lonely",)),
    ]  # fmt: skip
    assert Unused.of("", [os.fsdecode(b"\xff.gif")]).first == ("\\udcff.gif",)
    told = warning_of_unused(source.unused)
    assert re.search(r"ending is not read \(.*\), 1 in all: 'new\.HEIC'; images that data\.source\.image_key=", told)
    assert re.search(r"masks without an image.*, 1 in all: 'lonely'\.$", told)


def test_one_folder_may_hold_images_and_masks(make_folder: MakeFolder) -> None:
    root = str(make_folder(KEYS))
    keys = {"image_key": "images/(.+)", "mask_key": "masks/(.+)"}
    assert Folder(root, CLASSES, images=".", masks=".", **keys).unused == ()


@pytest.mark.parametrize("images", ["images", "images/**/*"])
def test_hidden_files_are_no_images(images: str, make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    for kind in ("images", "masks"):
        (root / kind / "._photo0.png").write_bytes(b"resource fork")
        (root / kind / ".ipynb_checkpoints").mkdir()
        shutil.copy(root / kind / "photo0.png", root / kind / ".ipynb_checkpoints" / "photo0-checkpoint.png")
    assert sum(map(len, names(Folder(str(root), CLASSES, images=images, image_key="(?:images/)?(.+)")).values())) == 20
    hidden = "images/.ipynb*/*.png"
    with pytest.raises(ValueError, match=r"1 of 1 images have no mask, first: 'images/\.ipynb_checkpoints/photo0-"):
        Folder(str(root), CLASSES, images=hidden)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG", ".Jpeg", ".TIF"])
def test_images_by_all_their_endings(suffix: str, make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    for path in (root / "images").iterdir():
        Image.open(path).save(path.with_suffix(suffix), "TIFF" if suffix == ".TIF" else "JPEG")
        path.unlink()
    source = Folder(str(root), CLASSES)
    assert source.unused == ()
    source.split("train").verify()


def test_accents_are_compared_as_they_are_read(make_folder: MakeFolder) -> None:
    apart, together = (unicodedata.normalize(form, "é") for form in ("NFD", "NFC"))
    root = make_folder([f"{apart}{i}" for i in range(4)])
    for path in (root / "masks").iterdir():
        path.rename(path.with_name(unicodedata.normalize("NFC", path.name)))
    (root / "train.txt").write_text(f"{apart}0\n{together}1.png\n")
    (root / "val.txt").write_text(f"{apart}2\n")
    (root / "split.json").write_text(json.dumps({"train": [f"{apart}0", f"{together}1"], "val": [f"{apart}2"]}))
    (root / "groups.csv").write_text("key,group\n" + "".join(f"{apart}{i},{i}\n" for i in range(4)))
    expected = {"train": [f"{together}0", f"{together}1"], "val": [f"{together}2"]}
    lists = {"train": "train.txt", "val": "val.txt"}
    listed = Folder(str(root), CLASSES, split="lists", lists=lists, group_by="groups.csv")
    assert names(listed) == names(Folder(str(root), CLASSES, split_file="split.json")) == expected
    assert choose_canary(listed, [f"{apart}2"]).names == [f"{together}2"]
    assert listed.split("train").read(0, rng(0)).mask.shape == (12, 14)


@pytest.mark.parametrize("options", [{}, {"ignore_index": 7}, {"encoding": "colour", "ignore_colours": [[7, 7, 7]]}])
def test_masks_without_any_label_serve_only_a_test(options: dict[str, object], make_folder: MakeFolder) -> None:
    shape = (12, 14, 3) if "encoding" in options else (12, 14)
    root = make_folder(KEYS, lambda _: np.full(shape, 7 if options else 255, np.uint8))
    source = Folder(str(root), CLASSES, **options)
    for name, told in {"train": "14 training masks", "val": "3 validation masks"}.items():
        with pytest.raises(ValueError, match=rf"no pixel of the {told} has a label.*data\.source\.masks"):
            source.split(name).verify(name)
        source.split(name).verify()  # to be scored
    source.split("test").verify("test")


def test_skipping_leaves_no_split_empty(make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    lost = names(Folder(str(root), CLASSES))["val"]
    for key in lost:
        (root / "masks" / f"{key}.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=rf"never all of it, but 100\.0% of val are(.|\n)*{lost[0]}\.png"):
        Folder(str(root), CLASSES, on_bad_file="skip", max_bad=1)


@pytest.mark.parametrize("share", [-0.1, 1.5, 2])
def test_a_share_lies_between_0_and_1(share: float, make_folder: MakeFolder) -> None:
    with pytest.raises(ValueError, match=rf"data\.max_bad={share}: .*0…1"):
        Folder(str(make_folder(KEYS)), CLASSES, max_bad=share)


BAD_LISTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_text("\n"), "names no sample: leave it out of data.source.lists"),
    "gone": (lambda path: None, r"split list '.*' does not exist: see data.source.lists"),
    "folder": (lambda path: path.mkdir(), "split list '.*' is a folder.*data.source.lists"),
    "Latin-1": (lambda path: path.write_bytes(b"photo5\n\xe4\n"), r"split list '.*line 2 holds the byte 0xe4.*UTF-8"),
}


@pytest.mark.parametrize("fault", BAD_LISTS)
def test_a_list_that_gives_nothing_is_refused(fault: str, make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    (root / "train.txt").write_bytes(b"\xef\xbb\xbfphoto3\r\nphoto1\r\n")
    (root / "val.txt").write_text("photo4\n")
    lists = {"train": "train.txt", "val": "val.txt"}
    source = Folder(str(root), CLASSES, split="lists", lists=lists)
    assert names(source) == {"train": ["photo3", "photo1"], "val": ["photo4"]}
    spoil, told = BAD_LISTS[fault]
    spoil(root / "test.txt")
    with pytest.raises(ValueError, match=told):
        Folder(str(root), CLASSES, split="lists", lists=lists | {"test": "test.txt"})


def test_a_split_file_is_a_file(make_folder: MakeFolder) -> None:
    with pytest.raises(ValueError, match=r"split file '.*images' is a folder.*data\.source\.split_file"):
        Folder(str(make_folder(KEYS)), CLASSES, split_file="images")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tile": [16]}, r"data\.source\.tile=\[16\]: give \[height, width\]"),
        ({"tile": [-1, 16]}, r"data\.source\.tile=\[-1, 16\]: give \[height, width\]"),
        ({"tile": [0, 16]}, r"data\.source\.tile=\[0, 16\]: give \[height, width\]"),
        ({"channels": 0}, r"data\.source\.channels=0: give"),
        ({"image_key": "("}, r"data\.source\.image_key='\(' is no regular expression"),
        ({"mask_key": "(x)?(.+)"}, r"data\.source\.mask_key='\(x\)\?\(\.\+\)': group 1 has no part in 'photo0'"),
        ({"extras": {"w": {"files": "masks", "kind": "mask", "key": ")"}}}, r"data\.source\.extras\.w\.key='\)'"),
        ({"palette": [[1, 2]] * 3}, r"data\.source\.palette: \[1, 2\] is no colour: write red, green and blue"),
        ({"palette": [[0, 0, 300]] * 3}, r"data\.source\.palette: \[0, 0, 300\] is no colour"),
        ({"palette": [[1, 2, 3]]}, r"data\.source\.palette has 1 colours for 3 data\.source\.classes"),
        ({"encoding": "colour", "ignore_colours": [[-1, 0, 0]]}, r"source\.ignore_colours: \[-1, 0, 0\] is no colour"),
        ({"group_by": "semicolons.csv"}, r"needs the columns key and group, but has key;group\. .*separated by ';'"),
    ],
    ids=str,
)  # fmt: skip
def test_arguments_without_sense_are_named(options: dict[str, object], told: str, make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    (root / "semicolons.csv").write_text("key;group\nphoto0;a\n")
    with pytest.raises(ValueError, match=told):
        Folder(str(root), CLASSES, **options)


def test_globs_and_key_patterns(make_folder: MakeFolder) -> None:
    root = make_folder(["a/1", "b/1"], suffix="_mask")
    options = {"image_key": "images/(.+)", "mask_key": "masks/(.+)_mask", "fractions": [0.5, 0.5, 0]}
    source = Folder(str(root), CLASSES, images="images/*/*.png", masks="masks/**/*.png", **options)
    assert sorted(chain(*names(source).values())) == ["a__1", "b__1"]
    with pytest.raises(ValueError, match=r"2 of 2 images have no mask, first: 'a/1'.*'a/1_mask'"):
        Folder(str(root), CLASSES)


def test_nothing_found_says_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"no images found.*under '{tmp_path}/images'.*data\.source\.root"):
        Folder(str(tmp_path), CLASSES)


def test_colour_coded_masks(make_folder: MakeFolder) -> None:
    palette = np.array([[0, 0, 0], [10, 200, 30], [250, 0, 0], [255, 255, 255]], np.uint8)
    values = rng(0).integers(0, 4, (12, 14))
    root = str(make_folder(KEYS, mask=lambda _: palette[values]))
    options = {"palette": palette[:3].tolist(), "encoding": "colour"}
    source = Folder(root, CLASSES, ignore_colours=[[255, 255, 255]], **options)
    expected = np.where(values == 3, 255, values)
    np.testing.assert_array_equal(source.split("train").read(0, rng(0)).mask, expected)
    with pytest.raises(ValueError, match=r"colour \[255, 255, 255\] in .* data\.source\.ignore_colours"):
        Folder(root, CLASSES, **options).split("train").verify()
    with pytest.raises(ValueError, match=r"data\.source\.encoding=colour"):
        Folder(root, CLASSES, palette=palette[:3].tolist()).split("train").verify()


def test_binary_masks_are_recognised_and_explained(make_folder: MakeFolder) -> None:
    root = str(make_folder(KEYS, mask=lambda rng: rng.integers(0, 2, (12, 14)).astype(np.uint8) * 255))
    two = ["ground", "tree"]
    with pytest.raises(ValueError, match=r"only the values 0 and 255.*data\.source\.binary=true"):
        Folder(root, two).split("train").verify()
    with pytest.raises(ValueError, match=r"data\.source\.binary=true"):
        Folder(root, two, ignore_index=None).split("train").verify()
    source = Folder(root, two, binary=True)
    source.split("train").verify()
    assert set(np.unique(source.split("train").read(0, rng(0)).mask)) == {0, 1}
    with pytest.raises(ValueError, match="binary=true needs two classes"):
        Folder(root, CLASSES, binary=True)


def test_values_outside_the_policy_are_named(make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    save(root / "masks" / "photo7.png", Image.fromarray(np.full((12, 14), 9, np.uint8)))
    source = Folder(str(root), CLASSES)
    owner = next(name for name, members in names(source).items() if "photo7" in members)
    with pytest.raises(ValueError, match=r"photo7\.png' holds the value 9 in 168 pixels.*knows 0…2"):
        source.split(owner).verify()
    index = names(source)[owner].index("photo7")
    with pytest.raises(ValueError, match=r"photo7\.png' holds the value 9"):
        source.split(owner).read(index, rng(0))


LIKELY = [
    ([0, 1, 2, 3], {}, r"the value 3 in 42 pixels.*from 1: if so, set .*reduce_zero_label=true \(0, 42 pixels, then"),
    ([1, 2, 3, 255], {}, r"the value 3 in 42 pixels.*reduce_zero_label=true \(0, and is not in this mask"),
    (
        [0, 1, 38, 75, 226],
        {},
        r"the value 38 in 34 pixels.*3 of its values .*up to 226: an RGB or palette mask saved as",
    ),
    ([0, 1, 38, 75, 226], {"reduce_zero_label": True}, r"knows 0…3, 255\..*RGB or palette mask saved as grey\?"),
    ([0, 255], {"ignore_index": None}, r"the value 255 in 84 pixels.*with 255 in 84 pixels: set .*binary=true and two"),
    ([0, 255], {"ignore_index": 7}, r"the value 255 in 84 pixels.*with 255 in 84 pixels: set .*binary=true and two"),
    ([0, 255], {}, r"'[^']*png' has 255 in 84 pixels.*set data\.source\.binary=true"),
    ([0, 4, 251, 255], {"binary": True}, r"the value 4 in 42 pixels; .* 0…1, 255\. 2 values besides .* with blending"),
    ([0, 1, 2, 9], {}, r"the value 9 in 42 pixels.*Name all classes"),
]


@pytest.mark.parametrize(("stored", "options", "message"), LIKELY)
def test_the_likely_mend_of_a_mask_is_told(
    make_folder: MakeFolder, stored: list[int], options: dict, message: str
) -> None:
    root = str(make_folder(KEYS, mask=lambda _: np.resize(np.array(stored, np.uint8), (12, 14))))
    with pytest.raises(ValueError, match=message):
        Folder(root, CLASSES[:2] if "binary" in options else CLASSES, **options).split("train").verify()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours_where_indices_are_expected_are_named(make_folder: MakeFolder, dtype: str) -> None:
    """With their pixels, the most frequent first."""
    full = np.iinfo(dtype).max
    values = np.zeros((12, 14, 3), dtype)
    values[:, :5], values[0, 5], values[1, 5] = [full, 0, 128], [0, 9, 0], [7, 7, 8]
    root = make_folder(KEYS)
    for path in (root / "masks").iterdir():
        np.save(path.with_suffix(".npy"), values)
        path.unlink()
    with pytest.raises(
        ValueError, match=r"\[0, 0, 0\] in 106 .*\[\d+, 0, 128\] in 60 .*\[0, 9, 0\] in 1 .*palette"
    ) as error:
        Folder(str(root), CLASSES).split("train").verify()
    assert f"[{full}, 0, 128]" in str(error.value)
    assert ".npy' holds colours" in str(error.value)


def test_faulty_pairs_are_listed(make_folder: MakeFolder) -> None:
    root = make_folder(KEYS)
    for path in (root / "images").glob("*.png"):
        Image.open(path).convert("RGB").save(path.with_suffix(".jpg"))
        path.unlink()
    (root / "masks" / "photo1.png").write_bytes(b"")
    save(root / "masks" / "photo2.png", Image.fromarray(np.zeros((14, 12), np.uint8)))
    cut = root / "images" / "photo3.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    (root / "train.txt").write_text("\n".join(KEYS[:10]))
    (root / "val.txt").write_text("\n".join(KEYS[10:]))
    lists = {"train": "train.txt", "val": "val.txt"}
    source = Folder(str(root), CLASSES, split="lists", lists=lists, mean=[0, 0, 0], std=[1, 1, 1])
    with pytest.raises(ValueError, match="3 of 10 pairs are faulty") as error:
        source.split("train").verify()
    message = str(error.value)
    assert "photo1.png' cannot be decoded" in message
    assert "photo2.png' is 14×12" in message
    assert "photo3.jpg' cannot be decoded" in message
    source.split("val").verify()


def test_fingerprint_follows_content_not_place(
    make_folder: MakeFolder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = make_folder(KEYS)
    copy = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(root, copy)
    first, same = (Folder(str(place), CLASSES).split("train").fingerprint() for place in (root, copy))
    assert first == same
    member = Folder(str(copy), CLASSES).split("train").pairs[0].mask
    save(member, Image.fromarray(np.zeros((12, 14), np.uint8)))
    assert Folder(str(copy), CLASSES).split("train").fingerprint() != first


def test_statistics_are_measured_on_the_training_images(make_folder: MakeFolder) -> None:
    source = Folder(str(make_folder(KEYS)), CLASSES)
    split = source.split("train")
    pixels = np.concatenate([split.read(i, rng(0)).image.reshape(-1, 3) for i in range(len(split))]) / 255
    np.testing.assert_allclose(source.mean, pixels.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(source.std, pixels.std(axis=0), atol=1e-3)
    assert (
        Folder(str(source.split("train").pairs[0].image.parents[1]), CLASSES, mean=[0.1] * 3, std=[1] * 3).mean
        == (0.1,) * 3
    )


def test_one_channel(make_folder: MakeFolder) -> None:
    source = Folder(str(make_folder(KEYS)), CLASSES, channels=1)
    assert source.split("val").read(0, rng(0)).image.shape == (12, 14, 1)
    assert len(source.mean) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fractions": [0.5, 0.2, 0.2]}, "add up to 1"),
        ({"fractions": [0.0, 0.5, 0.5]}, "split 'train' of data=folder is empty"),
        ({"split": "magic"}, "choose fractions, folders or lists"),
        ({"encoding": "magic"}, "choose index, colour, labelme, coco"),
        (
            {"binary": True, "encoding": "colour"},
            r"data\.source\.binary=true says what stored values mean, but with .*colour",
        ),
        ({"reduce_zero_label": True, "encoding": "coco"}, r"zero_label=true says .* masks hold none: leave it false"),
        ({"binary": True, "reduce_zero_label": True}, "say two things of stored values: leave one of them false"),
        ({"ignore_index": 300}, "8-bit"),
        ({"image_key": "x(.+)"}, r"none of the 20 images.*data\.source\.image_key"),
        ({"split": "lists", "lists": {"train": "no.txt"}}, r"no\.txt' does not exist"),
        ({"split": "lists", "lists": {"Train": "no.txt"}}, "use train, val and test"),
    ],
)
def test_mistakes_are_explained(make_folder: MakeFolder, wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Folder(str(make_folder(KEYS)), CLASSES, **wrong)
