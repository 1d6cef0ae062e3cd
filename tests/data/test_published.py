from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

from perpixel.data import ADE20K, VOC, Cityscapes, COCOStuff

from . import layouts

rng = np.random.default_rng


def values(source: ADE20K | VOC | Cityscapes | COCOStuff, split: str, index: int = 0) -> set[int]:
    sample = source.split(split).read(index, rng(0))
    assert sample.image.shape == (*layouts.SHAPE, 3)
    return set(np.unique(sample.mask).tolist())


@pytest.mark.parametrize("inside", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc(tmp_path: Path, inside: str) -> None:
    source = VOC(str(layouts.voc(tmp_path) / inside))
    assert source.splits == ("train", "val")
    assert [pair.name for pair in source.split("train").pairs] == ["2007_000032", "2007_000039"]
    assert values(source, "val") == {0, 1, 20, 255}
    assert source.labels.names[:2] == ("background", "aeroplane")
    assert source.labels.names[20] == "tvmonitor"
    assert source.labels.palette[20] == (0, 64, 128)


def test_voc_with_sbd(tmp_path: Path) -> None:
    source = VOC(str(layouts.voc(tmp_path)), augmented=True)
    assert [pair.name for pair in source.split("train").pairs] == ["2007_000032", "2008_000008"]
    assert values(source, "train") == {0, 5, 20, 255}
    assert values(source, "val") == {0, 1, 20, 255}


def test_cityscapes_label_ids_become_train_ids(tmp_path: Path) -> None:
    source = Cityscapes(str(layouts.cityscapes(tmp_path)))
    assert source.labels.num_classes == 19
    mask = source.split("train").read(0, rng(0)).mask.ravel()
    by_id = dict(zip(range(34), mask[:34].tolist(), strict=True))
    assert [i for i, index in by_id.items() if index != 255] == [*[7, 8, 11, 12, 13, 17], *range(19, 29), 31, 32, 33]
    assert [by_id[i] for i in (7, 8, 11, 24, 26, 31, 33)] == [0, 1, 2, 11, 13, 16, 18]


def test_a_linked_city_counts(tmp_path: Path) -> None:
    root = layouts.cityscapes(tmp_path / "city")
    for kind in ("leftImg8bit", "gtFine"):
        (root / kind / "train" / "aachen").rename(tmp_path / kind)
        (root / kind / "train" / "aachen").symlink_to(tmp_path / kind)
    split = Cityscapes(str(root)).split("train")
    assert [pair.group for pair in split.pairs] == ["aachen", "aachen", "bochum"]


def test_cityscapes_train_ids_files_and_groups(tmp_path: Path) -> None:
    split = Cityscapes(str(layouts.cityscapes(tmp_path))).split("train")
    assert [pair.group for pair in split.pairs] == ["aachen", "aachen", "bochum"]
    assert split.pairs[1].name == "aachen_000001_000019_leftImg8bit"
    assert set(np.unique(split.read(1, rng(0)).mask)) == {0, 18, 255}
    split.verify()


def test_cityscapes_coarse_trains_on_polygons_and_validates_on_fine(tmp_path: Path) -> None:
    root = str(layouts.cityscapes(tmp_path))
    source = Cityscapes(root, annotations="coarse", extra=True)
    assert [pair.group for pair in source.split("train").pairs] == ["aachen", "aachen", "bochum", "augsburg"]
    assert values(source, "train") == {0, 18, 255}
    assert "gtFine" in str(source.split("val").pairs[0].mask)
    with pytest.raises(ValueError, match=r"data\.source\.annotations=coarse"):
        Cityscapes(root, extra=True)


def test_ade20k_drops_other(tmp_path: Path) -> None:
    source = ADE20K(str(layouts.ade20k(tmp_path)))
    assert source.labels.num_classes == 150
    assert values(source, "train") == {0, 149, 255}
    assert source.labels.names[0] == "wall"
    assert source.labels.names[149] == "flag"
    assert len(source.split("val")) == 2


def test_coco_stuff_164k(tmp_path: Path) -> None:
    source = COCOStuff(str(layouts.coco_stuff_164k(tmp_path)))
    assert source.labels.num_classes == 171
    assert values(source, "train") == {0, 11, 170, 255}
    assert [source.labels.names[i] for i in (0, 11, 170)] == ["person", "stop sign", "wood"]


def test_coco_stuff_10k(tmp_path: Path) -> None:
    source = COCOStuff(str(layouts.coco_stuff_10k(tmp_path)), version="10k")
    assert values(source, "val") == {0, 11, 170, 255}
    source.split("train").verify()
    mask = source.split("train").pairs[0].mask
    mask.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no MATLAB file that can be read"):
        source.split("train").read(0, rng(0))


READERS = {
    "voc": (VOC, layouts.voc, "VOCdevkit/VOC2012/JPEGImages", "host.robots.ox.ac.uk"),
    "cityscapes": (Cityscapes, layouts.cityscapes, "gtFine/val", "cityscapes-dataset.com"),
    "ade20k": (ADE20K, layouts.ade20k, "ADEChallengeData2016/annotations/training", "csail.mit.edu"),
    "coco_stuff": (COCOStuff, layouts.coco_stuff_164k, "annotations/val2017", "nightrome/cocostuff"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_missing_folder_says_what_was_looked_for_and_where_to_get_it(tmp_path: Path, name: str) -> None:
    reader, write, folder, home = READERS[name]
    shutil.rmtree(write(tmp_path) / folder)
    with pytest.raises(ValueError, match="was not found: looked for") as error:
        reader(str(tmp_path))
    assert str(tmp_path / folder) in str(error.value)
    assert "data.source.root to a folder of this layout" in str(error.value)
    assert home in str(error.value)


@pytest.mark.parametrize("name", READERS)
def test_missing_masks_are_counted(tmp_path: Path, name: str) -> None:
    reader, write, _, _ = READERS[name]
    source = reader(str(write(tmp_path)))
    gone = source.split("train").pairs[0].mask
    gone.unlink()
    with pytest.raises(ValueError, match=rf"1 of them without mask, first '.*{gone.name[:5]}"):
        reader(str(tmp_path))


def test_missing_images_of_a_list_are_counted(tmp_path: Path) -> None:
    root = layouts.voc(tmp_path)
    (root / "VOCdevkit/VOC2012/JPEGImages/2007_000039.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 of 2 listed images do not exist, first '.*2007_000039\.jpg'"):
        VOC(str(root))


def test_unknown_choices() -> None:
    with pytest.raises(ValueError, match="choose 164k or 10k"):
        COCOStuff(".", version="1k")
    with pytest.raises(ValueError, match="choose fine or coarse"):
        Cityscapes(".", annotations="rough")


@pytest.mark.parametrize(
    ("write", "make"),
    [
        (layouts.voc, VOC),
        (layouts.cityscapes, Cityscapes),
        (layouts.ade20k, ADE20K),
        (layouts.coco_stuff_164k, COCOStuff),
    ],
)
def test_faulty_files_can_be_left_out(
    write: Callable[[Path], Path], make: Callable[..., ADE20K | VOC | Cityscapes | COCOStuff], tmp_path: Path
) -> None:
    root = str(write(tmp_path))
    bad = make(root).split("train").pairs[0]
    bad.mask.write_bytes(b"")
    source = make(root, on_bad_file="skip", max_bad=0.5)
    assert bad.name not in [pair.name for pair in source.split("train").pairs]
    assert str(bad.mask) in source.quarantined[0]
    with pytest.raises(ValueError, match=r"on_bad_file=skip leaves faulty pairs out up to a share of .*max_bad=0\.01"):
        make(root, on_bad_file="skip")


def test_coco_stuff_has_the_colours_of_its_own_tools(tmp_path: Path) -> None:
    """As ``getCMap(stuffStartId=92, stuffEndId=182)`` makes them for PNGs."""
    hsv = rgb_to_hsv(colormaps["jet"].resampled(91)(np.arange(91))[:, :3]) * (1, 1, 0.7)
    shuffled = hsv_to_rgb(hsv)[np.random.RandomState(42).permutation(91)]
    labels = COCOStuff(str(layouts.coco_stuff_164k(tmp_path))).labels
    np.testing.assert_array_equal(labels.palette[80:], (shuffled * 255).astype(int))
    assert labels.names[79:81] == ("toothbrush", "banner")
    assert len(set(labels.palette[:80])) == 80
    assert (0, 0, 0) not in labels.palette
