"""Scenes are functions of their arguments, hold every class, and their masks lie on their images."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from perpixel.data.base import Sample
from perpixel_scenes import CAMERAS, WEATHERS, Class, Scenes
from perpixel_scenes.camera import Grid, View
from perpixel_scenes.lens import gather
from perpixel_scenes.mesh import Mesh, Planes, Surface
from perpixel_scenes.raster import Painter
from perpixel_scenes.source import Facts, render


@cache
def shares() -> np.ndarray:
    """Class shares of 40 training scenes, (40, 10)."""
    train = Scenes().split("train")
    masks = [train.read(index, np.random.default_rng()).mask for index in range(40)]
    return np.array([np.bincount(mask.ravel(), minlength=10) / mask.size for mask in masks])


def sha(sample: Sample) -> str:
    return hashlib.sha256(sample.image.tobytes() + sample.mask.tobytes()).hexdigest()


@pytest.mark.slow
def test_two_processes_draw_the_same_bytes() -> None:
    code = (
        "import hashlib; from perpixel_scenes import Scenes; s = Scenes(seed=3, size=(48, 64)).draw('val', 5);"
        "print(hashlib.sha256(s.image.tobytes() + s.mask.tobytes()).hexdigest())"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    scenes = Scenes(seed=3, size=(48, 64))
    scenes.draw("val", 4)  # what was drawn before does not matter
    assert sha(scenes.draw("val", 5)) == other.stdout.strip()


def test_seed_split_and_index_each_give_another_scene() -> None:
    drawn = [
        Scenes(seed=seed, size=(32, 32)).draw(split, index)
        for seed in (0, 1)
        for split in ("train", "val", "test")
        for index in (0, 1)
    ]
    assert len({sha(sample) for sample in drawn}) == len(drawn)


def test_a_split_reads_what_is_drawn_and_keeps_it_unharmed() -> None:
    scenes = Scenes(size=(32, 32), train=2)
    train = scenes.split("train")
    first = train.read(1, np.random.default_rng(0))
    first.image[:] = 0
    assert sha(train.read(1, np.random.default_rng(9))) == sha(scenes.draw("train", 1))
    with pytest.raises(IndexError, match="scene 2 of 2"):
        train.read(2, np.random.default_rng(0))


def test_every_class_occurs_and_the_thin_ones_are_rare() -> None:
    mean = shares().mean(0)
    assert (mean > 0).all()
    assert mean[Class.POLE] < 0.03
    assert mean[Class.WIRE] < 0.03
    assert mean[Class.ROAD] > 20 * mean[Class.SIGN]
    assert shares().max() < 0.9, "a scene is nearly one class"


def test_wires_and_poles_are_thin() -> None:
    """Of a wire's pixels, nearly none has wire above, below, left and right of it."""
    for index in range(6):
        wire = Scenes(size=(256, 256)).draw("train", index).mask == Class.WIRE
        inner = wire[1:-1, 1:-1] & wire[:-2, 1:-1] & wire[2:, 1:-1] & wire[1:-1, :-2] & wire[1:-1, 2:]
        assert inner.sum() <= 0.2 * max(wire.sum(), 1)


@pytest.mark.parametrize("size", [(16, 16), (33, 47), (101, 64), (40, 130)])
def test_any_size(size: tuple[int, int]) -> None:
    sample = Scenes(size=size).draw("train", 3)
    assert sample.image.shape == (*size, 3)
    assert sample.image.dtype == sample.mask.dtype == np.uint8
    assert sample.mask.shape == size
    assert sample.mask.max() < Scenes.labels.num_classes


def test_size_changes_the_sampling_and_not_the_scene() -> None:
    """Three times as large, every third pixel has the same centre; only lines, a pixel wide, grow thinner."""
    small, large = (Scenes(size=(n, n)).draw("train", 7).mask for n in (64, 192))
    assert (small == large[1::3, 1::3]).mean() > 0.9


@pytest.mark.parametrize("camera", CAMERAS)
def test_weather_changes_the_look_and_not_the_labels(camera: str) -> None:
    def drawn(weather: str) -> tuple[np.ndarray, np.ndarray]:
        scene, sky, sensor = (np.random.default_rng(stream) for stream in (1, 2, 3))
        return render((40, 40), Facts(camera, weather), scene, sky, sensor)

    pictures = {weather: drawn(weather) for weather in WEATHERS}
    masks = [mask for _, mask in pictures.values()]
    assert all((mask == masks[0]).all() for mask in masks)
    assert len({image.tobytes() for image, _ in pictures.values()}) == len(WEATHERS)


def test_mask_edges_lie_on_image_edges() -> None:
    """A white panel before black, slanted so that its edges cross the pixels anywhere, through painter and lens.

    Where the image is brighter than half, by interpolation between pixel centres, is where the mask is: the mean
    signed distance of the two edges is below a twentieth of a pixel.
    """
    grid = Grid(96, 96)
    view = View(np.zeros(3), np.eye(3), 1.0)
    mesh = Mesh()
    mesh.begin(10)
    mesh.card(Surface(Class.SIGN, (1, 1, 1)), (0, 0, 10), [(-3.1, -2.9), (2.8, -3.3), (3.3, 2.7), (-2.6, 3.1)])
    canvas = Painter(grid, view).paint(mesh)
    mask = canvas[1::2, 1::2] > 0
    level = gather((canvas > 0).astype(np.float32)[None])[0]
    rows = slice(30, 66)
    left_mask = mask[rows].argmax(1) - 0.5
    left_image = np.array([_crossing(row) for row in level[rows]])
    right_mask = mask[rows, ::-1].argmax(1) - 0.5
    right_image = np.array([_crossing(row[::-1]) for row in level[rows]])
    assert abs((left_mask - left_image).mean()) < 0.05
    assert abs((right_mask - right_image).mean()) < 0.05


def _crossing(row: np.ndarray) -> float:
    """Where a row first rises through half, between pixel centres."""
    after = int((row > 0.5).argmax())
    below, above = row[after - 1], row[after]
    return after - 1 + (0.5 - below) / (above - below)


def test_planes_give_back_the_points_they_were_made_of() -> None:
    mesh = Mesh()
    mesh.add(Surface(Class.BUILDING, (1, 1, 1)), [(1, 0, 5), (1, 0, 9), (1, 3, 9), (1, 3, 5)])
    planes = Planes.of(mesh.faces, np.zeros(3))
    assert planes.u[0].tolist() == [0, 0, 1]
    assert planes.v[0].tolist() == [0, 1, 0]
    assert planes.normal[0].tolist() == [-1, 0, 0], "it looks at the eye"


def test_describe_names_groups_and_choices_restrict_them() -> None:
    scenes = Scenes(cameras=["bus", "phone"], weathers=["fog"])
    facts = [scenes.describe("train", index) for index in range(30)]
    assert {fact["camera"] for fact in facts} == {"bus", "phone"}
    assert {fact["weather"] for fact in facts} == {"fog"}
    everything = [Scenes().describe("train", index) for index in range(200)]
    assert {fact["camera"] for fact in everything} == set(CAMERAS)
    assert {fact["weather"] for fact in everything} == set(WEATHERS)


def test_fingerprint_knows_the_arguments_and_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    def fingerprint(**arguments: object) -> str:
        return Scenes(**{"size": (32, 32), "train": 4, **arguments}).split("train").fingerprint()  # type: ignore[arg-type]

    same = fingerprint()
    assert same == fingerprint()
    changed = [fingerprint(seed=1), fingerprint(train=5), fingerprint(size=(32, 33)), fingerprint(weathers=["fog"])]
    changed.append(Scenes(size=(32, 32), val=4).split("val").fingerprint())
    monkeypatch.setitem(CAMERAS, "helmet", CAMERAS["helmet"]._replace(height=4.0))
    monkeypatch.setitem(CAMERAS, "cctv", CAMERAS["cctv"]._replace(height=3.0))
    changed.append(fingerprint())
    assert len({same, *changed}) == len(changed) + 1


def test_statistics_are_those_of_the_pictures() -> None:
    scenes = Scenes()
    pixels = np.concatenate([scenes.draw("train", index).image.reshape(-1, 3) for index in range(30)]) / 255
    assert np.abs(pixels.mean(0) - scenes.mean).max() < 0.06
    assert np.abs(pixels.std(0) - scenes.std).max() < 0.06


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weathers": ["snow"]}, r"data\.source\.weathers holds 'snow'; choose from clear"),
        ({"cameras": []}, r"data\.source\.cameras is empty"),
        ({"size": (8, 64)}, r"at least 16"),
        ({"val": -1}, r"data\.source\.val=-1 is negative"),
    ],
)
def test_errors_say_what_and_how_to_mend(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scenes(**arguments)  # type: ignore[arg-type]


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match="no split 'dev'"):
        Scenes().split("dev")  # type: ignore[arg-type]
