from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.labels import LabelSpace
from perpixel.reporting.pictures import (
    batch_picture,
    confusion_picture,
    curves_picture,
    overlay_strip,
    panels,
    reliability_picture,
)
from perpixel.reporting.pictures.reliability import _title

LABELS = LabelSpace(("sky", "road"), ((10, 20, 200), (90, 90, 90)))
WRONG = (229, 41, 41)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)


def test_the_strip_is_four_equal_panels_of_input_truth_prediction_errors(image: np.ndarray) -> None:
    target, prediction = np.zeros((300, 400), np.uint8), np.zeros((300, 400), np.uint8)
    target[:10] = 255
    prediction[:20] = 1
    strip = overlay_strip(image, target, prediction, LABELS)
    shown, truth, predicted, errors = panels(strip)
    assert {panel.shape for panel in (shown, truth, predicted, errors)} == {(300, 400, 3)}
    assert np.array_equal(shown, image)
    assert np.array_equal(predicted, LABELS.colour(prediction))
    assert np.array_equal(truth[10:], LABELS.colour(target)[10:])
    assert (errors[10:20] == WRONG).all()
    assert not (errors[20:] == WRONG).all(-1).any()
    assert np.array_equal(errors[:10], truth[:10]), "unlabelled pixels are hatched alike, right or wrong"


def test_right_pixels_are_dimmed_and_grey(image: np.ndarray) -> None:
    mask = np.zeros((300, 400), np.uint8)
    errors = panels(overlay_strip(image, mask, mask, LABELS))[3]
    assert errors.max() < 140
    assert np.ptp(errors, axis=-1).max() == 0


def test_a_small_window_is_enlarged_by_a_whole_factor(image: np.ndarray) -> None:
    mask = np.zeros((96, 80), np.uint8)
    strip = overlay_strip(image[:96, :80], mask, mask, LABELS)
    shown = panels(strip)[0]
    assert shown.shape == (288, 240, 3)
    assert np.array_equal(shown[1::3, 1::3], image[:96, :80])


def test_padding_is_ignored_where_a_policy_has_no_ignore_index(image: np.ndarray) -> None:
    labels = LabelSpace(LABELS.names, LABELS.palette, ignore_index=None)
    target = np.full((300, 400), 255, np.uint8)
    errors = panels(overlay_strip(image, target, np.zeros_like(target), labels))[3]
    assert not (errors == WRONG).all(-1).any()


@pytest.mark.parametrize("fault", ["float", "grey", "size"])
def test_a_strip_of_unfit_arrays_says_which(image: np.ndarray, fault: str) -> None:
    target = np.zeros((300, 400), np.uint8)
    unfit = {"float": image / 255, "grey": image[..., 0], "size": image[:100]}[fault]
    with pytest.raises(ValueError, match="must have one size" if fault == "size" else "uint8 image, not"):
        overlay_strip(unfit, target, target, LABELS)


def test_the_contact_sheet_holds_pictures_names_and_legend() -> None:
    images = np.full((5, 96, 96, 3), 120, np.uint8)
    masks = np.ones((5, 96, 96), np.uint8)
    sheet = batch_picture(images, masks, LABELS, [f"sample {n}" for n in range(5)])
    colours = {tuple(colour) for colour in sheet.reshape(-1, 3)}
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] <= 1700
    assert set(LABELS.palette) <= colours
    assert (103, 103, 103) in colours, "0.45 · image + 0.55 · road"


def test_curves_are_drawn_from_a_log_with_gaps(tmp_path: Path) -> None:
    lines = [{"epoch": 0, "train/loss": 1.0}, {"epoch": 0, "val/mIoU": None}, {"epoch": 1, "val/mIoU": 0.4}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    curves_picture(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
    drawn = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).reshape(-1, 3)
    assert (drawn == (37, 99, 235)).all(-1).any(), "the training loss is there"
    assert (drawn == (22, 163, 74)).all(-1).any(), "the best epoch is marked"


def test_curves_of_a_run_that_logged_nothing_still_make_a_picture(tmp_path: Path) -> None:
    curves_picture(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").width > 500


def test_a_confusion_matrix_with_an_absent_class_and_an_odd_name() -> None:
    picture = confusion_picture([[90, 10, 0], [0, 0, 0], [5, 5, 0]], ["sky", r"$\x$", "road"])
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert np.ptp(picture) > 200


@pytest.mark.parametrize("accuracy", [[None, 0.3, 0.9], [None, 0.6, 1.0], [None, None, None]])
def test_the_reliability_diagram_shows_bars_gaps_and_the_error(accuracy: list[float | None]) -> None:
    confidence = [None if value is None else 0.5 + 0.3 * place for place, value in enumerate(accuracy)]
    share = [0.0, 0.25, 0.75] if accuracy[1] is not None else [None] * 3
    picture = reliability_picture({"share": share, "confidence": confidence, "accuracy": accuracy})
    colours = {tuple(colour) for colour in picture.reshape(-1, 3)}
    assert picture.dtype == np.uint8
    assert {(37, 99, 235), (234, 88, 12)} <= colours
    assert ((100, 116, 139) in colours) == (accuracy[1] is not None), "the histogram has bars where there are pixels"


def test_the_title_of_the_diagram_tells_the_error_and_its_side() -> None:
    share, confidence, accuracy = (
        np.array([0.0, 0.25, 0.75]),
        np.array([np.nan, 0.5, 0.9]),
        np.array([np.nan, 0.7, 0.8]),
    )
    assert _title(share, confidence, accuracy) == "ECE 0.125; on average 0.025 surer than right"
    assert _title(share, accuracy, confidence) == "ECE 0.125; on average 0.025 less sure than right"
    assert _title(share, share * np.nan, share * np.nan) == "no labelled pixels"
