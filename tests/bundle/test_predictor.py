"""Three lines: load, predict, look."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import perpixel
from perpixel.bundle import Prediction, Predictor
from perpixel.inference.backend import Ensemble
from perpixel.labels import LabelSpace
from perpixel.spec import ModelSpec, Normalise

LABELS = LabelSpace(("red", "green", "blue"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)))
SPEC = ModelSpec({"model": {}, "encoder": {}, "decoder": {}}, LABELS, Normalise((0.5,) * 3, (0.5,) * 3), 3, 1, (8, 8))


def brightest(images: Tensor) -> Tensor:
    """A backend that labels each pixel by its strongest channel."""
    return 20 * images


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(brightest, SPEC)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)


def test_files_pictures_and_arrays_give_the_same(predictor: Predictor, picture: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(picture).save(tmp_path / "picture.png")
    expected = picture.argmax(axis=2)
    for image in (tmp_path / "picture.png", str(tmp_path / "picture.png"), Image.fromarray(picture), picture):
        found = predictor.predict(image)
        assert found.mask.dtype == np.uint8
        assert (found.mask == expected).mean() > 0.99  # two channels may tie
        np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, atol=1e-5)
        assert found.classes == ("red", "green", "blue")
        assert found.palette == LABELS.palette


def test_a_turned_photo_is_labelled_upright(predictor: Predictor, picture: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    assert predictor.predict(tmp_path / "turned.png").mask.shape == (17, 13)
    with Image.open(tmp_path / "turned.png") as opened:
        assert predictor.predict(opened).mask.shape == (17, 13)


def test_grey_and_transparent_pictures_become_rgb(predictor: Predictor, picture: np.ndarray) -> None:
    assert predictor.predict(picture[..., 0]).mask.shape == (13, 17)
    assert predictor.predict(Image.fromarray(picture).convert("RGBA")).mask.shape == (13, 17)
    assert predictor.predict(Image.fromarray(picture).convert("P")).mask.shape == (13, 17)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), "has 5 channels, but the model was trained on images of 3"),
        (np.zeros((4, 4, 3), np.uint16), "holds uint16 values, but the model was trained on uint8"),
        (np.zeros((4, 4, 3)), "holds float32 values, but the model was trained on uint8"),
        (np.zeros((4, 4, 3), np.int64), "int64 values: store images as"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"shape \(2, 4, 4, 3\)"),
        (np.full((4, 4, 3), np.nan), "NaN or infinite"),
        ("missing.png", "'missing.png' does not exist"),
    ],
)
def test_other_images_than_it_was_trained_on_are_refused(
    predictor: Predictor, image: np.ndarray | str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.predict(image)


def test_what_a_prediction_says(picture: np.ndarray, tmp_path: Path) -> None:
    probabilities = np.zeros((3, 13, 17), np.float32)
    probabilities[1] = 1
    probabilities[:, 0, 0] = 1 / 3
    found = Prediction(picture, torch.from_numpy(np.log(np.maximum(probabilities, 1e-30))), LABELS)
    assert found.entropy[0, 0] == pytest.approx(1)
    assert found.entropy[1, 1] == pytest.approx(0, abs=1e-6)
    assert found.confidence[0, 0] == pytest.approx(1 / 3)
    np.testing.assert_array_equal(found.overlay(1)[1:], np.broadcast_to((0, 255, 0), (12, 17, 3)))
    np.testing.assert_array_equal(found.overlay(0), picture)
    found.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.array(mask), found.mask)
        assert mask.convert("RGB").getpixel((5, 5)) == (0, 255, 0)
    assert Image.open(io.BytesIO(found._repr_png_())).size == (17, 13)
    with pytest.raises(ValueError, match=r"ends in \.png"):
        found.save(tmp_path / "mask.jpg")
    with pytest.raises(ValueError, match="opacity=2"):
        found.overlay(2)


def test_more_classes_than_a_byte_holds(tmp_path: Path) -> None:
    many = LabelSpace(tuple(str(index) for index in range(300)), ((0, 0, 0),) * 300, ignore_index=65535)
    probabilities = np.zeros((300, 2, 2), np.float32)
    probabilities[299] = 1
    found = Prediction(np.zeros((2, 2, 3), np.uint8), torch.from_numpy(probabilities), many)
    assert found.mask.dtype == np.uint16
    found.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as mask:
        assert np.array(mask).max() == 299


def test_an_ensemble_averages_probabilities() -> None:
    first, second = torch.tensor([4.0, 0.0]), torch.tensor([0.0, 1.0])
    together = Ensemble([lambda images: first.view(1, 2, 1, 1), lambda images: second.view(1, 2, 1, 1)])
    expected = (first.softmax(0) + second.softmax(0)) / 2
    torch.testing.assert_close(together(torch.zeros(1, 3, 1, 1)).softmax(1).flatten(), expected)
    with pytest.raises(ValueError, match="at least one"):
        Ensemble([])


def test_a_trained_run_is_used_in_three_lines(tiny: list[str], tiny_root: Path) -> None:
    run = perpixel.train([*tiny, "training.ema_decay=0.9"]).directory
    model = perpixel.load(run, device="cpu")
    assert "git" in model.spec.provenance
    assert model.spec.provenance["scores"]["val"]["mIoU"] is not None
    prediction = model.predict(tiny_root / "images" / "00.png")
    assert prediction.mask.shape == (32, 48)
    twice = perpixel.load([run, run / "model"], device="cpu").predict(tiny_root / "images" / "00.png")
    np.testing.assert_allclose(twice.probabilities, prediction.probabilities, atol=1e-6)
    with pytest.raises(ValueError, match="device=cuda:9 cannot be used here"):
        perpixel.load(run, device="cuda:9")
    with pytest.raises(ValueError, match="no model is given"):
        perpixel.load([])
