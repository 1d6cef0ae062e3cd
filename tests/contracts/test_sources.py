"""What every data source promises. A new source is one more line in SOURCES."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from perpixel.data import ADE20K, VOC, Cityscapes, COCOStuff, DataSource, Earth, Folder
from perpixel.workflows.assembly import OF_FILES

from ..data import layouts

SOURCES: dict[str, Callable[[Path], DataSource]] = {
    "earth climate": lambda _: Earth("climate"),
    "earth water": lambda _: Earth("water", windows_per_epoch=None),
    "folder": lambda path: Folder(str(own_data(path)), ["ground", "tree"]),
    "voc": lambda path: VOC(str(layouts.voc(path))),
    "cityscapes": lambda path: Cityscapes(str(layouts.cityscapes(path))),
    "ade20k": lambda path: ADE20K(str(layouts.ade20k(path))),
    "coco_stuff 164k": lambda path: COCOStuff(str(layouts.coco_stuff_164k(path))),
    "coco_stuff 10k": lambda path: COCOStuff(str(layouts.coco_stuff_10k(path)), version="10k"),
}


def own_data(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for kind, values in (("images", 256), ("masks", 2)):
        (root / kind).mkdir(parents=True)
        for index in range(9):
            Image.fromarray(rng.integers(0, values, (20, 24)).astype(np.uint8)).save(root / kind / f"{index}.png")
    return root


@pytest.fixture(params=SOURCES, scope="module")
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DataSource:
    return SOURCES[request.param](tmp_path_factory.mktemp("data"))


def test_has_training_and_validation(source: DataSource) -> None:
    assert {"train", "val"} <= set(source.splits) <= {"train", "val", "test"}
    assert all(len(source.split(name)) for name in source.splits)


def test_statistics_fit_the_channels(source: DataSource) -> None:
    assert len(source.mean) == len(source.std) == source.channels
    assert all(0 <= mean <= 1 for mean in source.mean)
    assert all(std > 0 for std in source.std)


def test_samples_are_as_promised(source: DataSource) -> None:
    for name in source.splits:
        split = source.split(name)
        split.verify()
        for index in (0, len(split) - 1):
            image, mask, title, extras = split.read(index, np.random.default_rng(index))
            assert set(extras) == set(source.extras)
            assert image.ndim == 3
            assert image.shape[2] == source.channels
            assert image.dtype in (np.uint8, np.uint16, np.float32)
            assert image.shape[:2] == mask.shape
            assert mask.dtype == np.uint8
            assert set(np.unique(mask)) <= {*range(source.labels.num_classes), source.labels.ignore_index}
            assert "/" not in title
            assert split.shape(index) in (None, mask.shape)


def test_reading_is_a_function_of_index_and_generator(source: DataSource) -> None:
    for name in source.splits:
        first, again = (source.split(name).read(0, np.random.default_rng(4)) for _ in range(2))
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.mask, again.mask)
        assert first.name == again.name


def test_names_in_evaluation_splits_are_unique(source: DataSource) -> None:
    split = source.split("val")
    names = [split.read(index, np.random.default_rng(0)).name for index in range(len(split))]
    assert len(set(names)) == len(names)


def test_fingerprints_tell_splits_apart_and_repeat(source: DataSource) -> None:
    prints = [source.split(name).fingerprint() for name in source.splits]
    assert len(set(prints)) == len(prints)
    assert prints == [source.split(name).fingerprint() for name in source.splits]
    assert all(len(value) == 64 for value in prints)


def test_yaml_lists_every_argument(source: DataSource) -> None:
    """Only listed keys can be overridden; those for files stand beside the source, for the sources that have files."""
    folder = Path(__file__).parents[2] / "conf" / "data"
    nodes = [OmegaConf.load(path) for path in folder.glob("*.yaml")]
    target = f"perpixel.data.{type(source).__name__}"
    matching = [node for node in nodes if "source" in node and node.source.get("_target_") == target]
    assert matching
    for node in matching:
        beside = set(node) & set(OF_FILES)
        assert set(node.source) - {"_target_"} | beside == set(inspect.signature(type(source)).parameters)


def test_an_unknown_split_is_an_error(source: DataSource) -> None:
    with pytest.raises(ValueError, match="split"):
        source.split("holdout")
