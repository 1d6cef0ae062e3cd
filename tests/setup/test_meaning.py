from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.data import Folder
from perpixel.setup.layout import find_layout
from perpixel.setup.meaning import Meaning, find_meaning

Paint = Callable[[np.random.Generator, int], np.ndarray]


def meaning_of(root: Path, paint: Paint, ask: Callable[[str], str] | None = None) -> Meaning:
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (40, 48, 3), np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(paint(rng, number)).save(root / "masks" / f"{number}.png")
    return find_meaning(root, find_layout(root), ask)


def boxes(*values: int) -> Paint:
    """Each value in a box of its own on 0."""

    def paint(rng: np.random.Generator, number: int) -> np.ndarray:
        mask = np.zeros((40, 48), np.uint8)
        for place, value in enumerate(values):
            mask[4 + 6 * place : 8 + 6 * place, 5:30] = value
            mask[4 + 6 * place : 8 + 6 * place, 35:40] = value
        return mask

    return paint


def objects(rng: np.random.Generator, number: int) -> np.ndarray:
    """Cells with numbers that run on from image to image."""
    mask = np.zeros((40, 48), np.uint16)
    for place in range(8):
        mask[2 + 9 * (place // 2) : 9 + 9 * (place // 2), 3 + 24 * (place % 2) : 20 + 24 * (place % 2)] = (
            8 * number + place + 1
        )
    return mask


def colours(rng: np.random.Generator, number: int) -> np.ndarray:
    mask = np.zeros((40, 48, 3), np.uint8)
    mask[:20, :20] = (200, 30, 30)
    mask[30:, 30:] = (0, 90, 200)
    return mask


def test_indices(tmp_path: Path) -> None:
    found = meaning_of(tmp_path, boxes(1, 2))
    assert found.settings["encoding"][0] == "index"
    assert found.classes == ("class_0", "class_1", "class_2")
    assert sum(found.shares) == pytest.approx(1)
    assert "ignore_index" not in found.settings


def test_255_beside_indices_has_no_label(tmp_path: Path) -> None:
    found = meaning_of(tmp_path, boxes(1, 2, 255))
    assert found.settings["ignore_index"][0] == 255
    assert len(found.classes) == 3
    assert 0 < found.unlabelled < 0.2


def test_0_and_255_are_two_classes(tmp_path: Path) -> None:
    found = meaning_of(tmp_path, boxes(255))
    assert found.settings["binary"][0] is True
    assert found.classes == ("background", "object")


def test_values_with_gaps_need_a_policy(tmp_path: Path) -> None:
    found = meaning_of(tmp_path, boxes(60, 120, 200))
    assert found.policy is not None
    assert [entry["from"] for entry in found.policy["classes"]] == [0, 60, 120, 200]


def test_numbers_of_objects_are_one_class(tmp_path: Path) -> None:
    found = meaning_of(tmp_path, objects)
    assert found.settings["binary"][0] == "nonzero"
    assert found.instances
    assert found.objects == pytest.approx((7 * 17) ** 0.5)
    source = Folder(str(tmp_path), list(found.classes), binary="nonzero")
    masks = [source.split("train").read(index, np.random.default_rng()).mask for index in range(3)]
    assert {int(value) for mask in masks for value in np.unique(mask)} == {0, 1}


def test_colours_are_found_with_the_background_first(tmp_path: Path) -> None:
    found = meaning_of(tmp_path, colours)
    assert found.settings["encoding"][0] == "colour"
    assert found.settings["palette"][0] == [[0, 0, 0], [200, 30, 30], [0, 90, 200]]


def test_names_come_from_a_list_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\n")
    assert meaning_of(tmp_path, boxes(1, 2)).classes == ("sky", "road", "car")


def test_a_longer_list_goes_by_value(tmp_path: Path) -> None:
    (tmp_path / "class_names.txt").write_text("__ignore__\nground\n" + "\n".join(f"c{n}" for n in range(1, 21)))
    assert meaning_of(tmp_path, boxes(5, 12)).classes == ("ground", "c5", "c12")


def test_one_question_at_most(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return "ground, road, car"

    assert meaning_of(tmp_path, boxes(1, 2), ask).classes == ("ground", "road", "car")
    assert len(asked) == 1
    assert "0 (" in asked[0]


def test_masks_of_one_value_teach_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hold one value, 0, and nothing else"):
        meaning_of(tmp_path, boxes())


def test_pictures_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too many for classes"):
        meaning_of(tmp_path, lambda rng, _: rng.integers(0, 255, (40, 48), np.uint8))
