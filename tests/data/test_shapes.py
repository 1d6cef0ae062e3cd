"""Polygons, boxes, scribbles and run lengths as masks, with what nobody drew on unlabelled."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from PIL import Image

import perpixel
from perpixel.data import Folder
from perpixel.data.annotations import ShapeMasks, coco_files
from perpixel.data.annotations.geometry import filled, stroked
from perpixel.data.annotations.rle import decode_rle
from perpixel.labels import LabelSpace
from perpixel.windows import Window

CLASSES = ["road", "car", "wire"]
LABELS = LabelSpace(tuple(CLASSES), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
SIZE = (40, 50)
rng = np.random.default_rng


def centres() -> np.ndarray:
    """(x, y) of the centres of all pixels."""
    rows, columns = np.indices(SIZE)
    return np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5


def on_canvas(*painted: Any) -> np.ndarray:
    canvas = np.zeros(SIZE, bool)
    for area, inside in painted:
        canvas[area] |= inside
    return canvas


@pytest.mark.parametrize("seed", range(12))
def test_a_polygon_holds_the_pixels_whose_centre_lies_inside(seed: int) -> None:
    points = rng(seed).uniform(-15, 60, (3 + seed % 5, 2))
    if seed % 5:  # star-shaped, so that the even-odd rule and matplotlib's winding rule agree
        angles = np.arctan2(*(points - points.mean(axis=0)).T)
        points = points[np.argsort(angles)]
    expected = Polygon(points).contains_points(centres()).reshape(SIZE)
    np.testing.assert_array_equal(on_canvas(filled(points, SIZE)), expected)


def test_polygons_that_share_an_edge_tile_the_plane() -> None:
    corners = np.array([(3, 4), (30.5, 2), (41, 37), (5, 30)], float)
    middle = np.array([19.5, 20.5])
    parts = [on_canvas(filled(np.stack([*pair, middle]), SIZE)) for pair in pairwise([*corners, corners[0]])]
    np.testing.assert_array_equal(np.sum(parts, axis=0), on_canvas(filled(corners, SIZE)).astype(int))


@pytest.mark.parametrize("width", [1, 3, 8])
def test_a_stroke_holds_the_pixels_near_its_line(width: float) -> None:
    points = np.array([(5.2, 30.1), (25, 7.5), (60, 12)])
    expected = np.zeros(len(centres()), bool)
    for start, end in pairwise(points):
        dense = start + np.linspace(0, 1, 4000)[:, None] * (end - start)
        near = [np.hypot(*(dense - centre).T).min() for centre in centres()]
        expected |= np.array(near) <= max(width / 2, 0.5 * 2**0.5)
    np.testing.assert_array_equal(on_canvas(*stroked(points, width, SIZE)), expected.reshape(SIZE))


def test_the_thinnest_stroke_has_no_gaps() -> None:
    """Along the border between two pixels too."""
    canvas = on_canvas(*stroked(np.array([(10.0, 10.0), (30.0, 10.0)]), 1, SIZE))
    assert canvas[:, 10:30].any(axis=0).all()
    assert on_canvas(*stroked(np.array([(10.0, 10.0)]), 1, SIZE)).sum() == 4


def test_run_lengths_of_coco() -> None:
    """The text is pycocotools' own."""
    expected = np.zeros((9, 12), bool)
    expected[2:7, 3:11] = True
    expected[4, 5:7] = False
    np.testing.assert_array_equal(decode_rle([9, 12], COMPRESSED), expected)
    columns = expected.T.ravel()
    edges = np.flatnonzero(np.diff(columns)) + 1
    runs = np.diff([0, *edges, columns.size]).tolist()
    np.testing.assert_array_equal(decode_rle([9, 12], runs), expected)
    with pytest.raises(ValueError, match="run lengths make 3 pixels, but its size is 9×12"):
        decode_rle([9, 12], [1, 2])


COMPRESSED = "m05400MM030M0330000007"


def shape(label: str, kind: str | None, points: Any, **more: Any) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": points, **more}


def labelme(path: Path, *shapes: dict[str, Any], **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"version": "5.0", "imageHeight": SIZE[0], "imageWidth": SIZE[1], "imageData": None, "shapes": shapes}
    path.write_text(json.dumps(content | more))
    return path


def reader(**options: Any) -> ShapeMasks:
    return ShapeMasks(LABELS, {name: i for i, name in enumerate(CLASSES)}, 255, **options)


def png(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


KINDS: dict[str, tuple[dict[str, Any], Callable[[], Any], int]] = {
    "rectangle": (shape("car", "rectangle", [[30, 20], [10, 5]]), lambda: np.s_[5:20, 10:30], 300),
    "polygon": (shape("car", "polygon", [[10, 5], [30, 5], [30, 20], [10, 20]]), lambda: np.s_[5:20, 10:30], 300),
    "no kind": (shape("car", None, [[10, 5], [30, 5], [30, 20], [10, 20]]), lambda: np.s_[5:20, 10:30], 300),
    "circle": (shape("car", "circle", [[20, 20], [26, 20]]), lambda: np.s_[14:26, 14:26], 112),
    "line": (shape("car", "line", [[10.5, 8.5], [30.5, 8.5]]), lambda: np.s_[7:10, 9:32], 69),
    "linestrip": (
        shape("car", "linestrip", [[10.5, 8.5], [30.5, 8.5], [20.5, 8.5]]),
        lambda: np.s_[7:10, 9:32],
        69,
    ),
    "point": (shape("car", "point", [[10.5, 8.5]]), lambda: np.s_[7:10, 9:12], 9),
    "points": (shape("car", "points", [[10.5, 8.5], [30.5, 8.5]]), lambda: np.s_[7:10, 9:32], 18),
    "mask": (
        shape("car", "mask", [[48, 5], [50, 7]], mask=png(np.array([[0, 255, 255], [255, 255, 255]], np.uint8))),
        lambda: np.s_[5:7, 48:50],
        3,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labelmes_kinds_of_shapes(tmp_path: Path, kind: str) -> None:
    drawn, area, pixels = KINDS[kind]
    mask = reader(line_width=3)(labelme(tmp_path / "a.json", drawn))
    assert mask.shape == SIZE
    assert (mask == 1).sum() == pixels
    assert (mask[area()] == 1).sum() == pixels
    assert (mask == 255).sum() == mask.size - pixels


def test_later_shapes_lie_on_top(tmp_path: Path) -> None:
    everything = [[0, 0], [50, 40]]
    path = labelme(
        tmp_path / "a.json",
        shape("road", "rectangle", everything),
        shape("car", "rectangle", [[10, 10], [20, 20]]),
        shape("__ignore__", "rectangle", [[15, 10], [20, 20]]),
    )
    mask = reader()(path)
    assert (mask[10:20, 10:15] == 1).all()
    assert (mask[10:20, 15:20] == 255).all()
    assert (mask == 0).sum() == 2000 - 100


def test_windows_are_parts_of_the_whole(tmp_path: Path) -> None:
    path = labelme(tmp_path / "a.json", *(drawn for drawn, _, _ in KINDS.values()))
    whole, window = reader()(path), Window(3, 7, 20, 35)
    np.testing.assert_array_equal(reader()(path, window), whole[window.slices])
    corner = Window(4, 46, 10, 4)
    np.testing.assert_array_equal(reader()(path, corner), whole[corner.slices])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"shapes": [shape("caar", "point", [[1, 1]])]}, r"a\.json', shape 0: the class 'caar' is unknown; .*'car'"),
        ({"shapes": [shape("car", "blob", [[1, 1]])]}, "shape_type 'blob' is none of polygon, oriented_rectangle"),
        ({"shapes": [shape("car", "circle", [[1, 1]])]}, "shape 0: "),
        ({"shapes": [{"label": "car"}]}, "shape 0: .*points"),
        ({"shapes": [shape("car", "polygon", [])]}, "has no points"),
        ({"imageHeight": None}, "does not say imageHeight"),
        ({"imageHeight": 40.5}, "does not say imageHeight"),
        ({"shapes": None}, r"has no list 'shapes'.*encoding=coco"),
    ],
)
def test_faulty_annotations_are_explained(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reader()(labelme(tmp_path / "a.json", **content))


def test_annotations_as_other_programs_write_them(tmp_path: Path) -> None:
    """With a byte order mark, and whole numbers as floats."""
    whole = {"imageHeight": float(SIZE[0]), "imageWidth": float(SIZE[1])}
    path = labelme(tmp_path / "a.json", shape("car", "rectangle", [[30, 20], [10, 5]]), **whole)
    path.write_text("\ufeff" + path.read_text(), encoding="utf-8")
    assert reader().shape(path) == reader()(path).shape == SIZE
    path = coco(tmp_path / "b.json", ["a.jpg"])
    path.write_text("\ufeff" + path.read_text(), encoding="utf-8")
    assert reader().shape(coco_files(path)["a.jpg"]) == SIZE


def bomb(side: int) -> str:
    """A small PNG whose header asks for side² pixels."""
    data = base64.b64decode(png(np.zeros((1, 1), np.uint8)))
    header = b"IHDR" + side.to_bytes(4, "big") * 2 + data[24:29]
    return base64.b64encode(data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]).decode()


EDGE = [[0, 0], [9, 0], [9, 9]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"shapes": [shape("car", "mask", [[0, 0]], mask=png(np.zeros((4, 4, 3), np.uint8)))]}, "of 3 bands"),
        ({"shapes": [shape("car", "mask", [[float("inf"), 0]], mask=bomb(1))]}, "shape 0: some of its points are inf"),
        ({"shapes": [shape("car", "polygon", [*EDGE, [float("nan"), 1]])]}, "shape 0: some of its points are inf"),
        ({"shapes": [shape("car", "circle", [[0, 0], [1e300, 0]])]}, "farther out than any picture"),
        ({"shapes": [shape("car", "polygon", [*EDGE, [10**400, 1]])]}, "shape 0: its points are no pairs of numbers"),
        ({"shapes": [shape("car", "polygon", [["1", "2"], ["30", "4"]])]}, "shape 0: its points are no pairs"),
        ({"shapes": [shape("car", "polygon", [1, 2, 30, 4, 5])]}, "shape 0: its points are no pairs"),
        ({"shapes": [shape("car", "polygon", [[1, 2, 3], [4, 5, 6]])]}, "shape 0: its points are no pairs"),
        ({"shapes": [shape("car", "polygon", [[1, 2], [4]])]}, "shape 0: its points are no pairs"),
        ({"shapes": [shape("car", [[1]], EDGE)]}, r"shape_type \[\[1\]\] is none of"),
        ({"shapes": [shape("car", "rle", [], size=SIZE, counts="o" * 10**5)]}, "none of COCO's compressed text"),
        ({"shapes": [shape("car", "rle", [], size=SIZE, counts=[10**30])]}, "run lengths are no whole numbers"),
        ({"shapes": [shape("car", "rle", [], size=SIZE, counts=["2000"])]}, "run lengths are no whole numbers"),
        ({"shapes": [shape("car", "rle", [], size=SIZE, counts=[2**62] * 4 + [2000])]}, "above its size of 40×50"),
        ({"shapes": [7]}, "shape 0: it is no shape, which has a label"),
        ({"shapes": [{"points": EDGE}]}, "shape 0: it is no shape, which has a label"),
        ({"imageHeight": True}, "does not say imageHeight"),
        ({"imageHeight": 10**6, "imageWidth": 10**6}, r"1000000×1000000 \(H×W\), more than .* set data\.source\.tile"),
    ],
)
def test_hostile_annotations_are_refused_by_name(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.json'.*{message}"):
        reader()(labelme(tmp_path / "a.json", **content))


@pytest.mark.parametrize("bound", [Image.MAX_IMAGE_PIXELS, None])
def test_a_mask_that_decodes_to_gigabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int | None
) -> None:
    """Also where a library in the process has switched Pillow's bound off."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", bound)
    path = labelme(tmp_path / "a.json", shape("car", "mask", [[0, 0]], mask=bomb(15_000)))
    with pytest.raises(ValueError, match=r"a\.json', shape 0: .*(225000000 pixels|its mask is 15000×15000)"):
        reader()(path)


def test_a_window_of_a_picture_too_large_to_draw_whole(tmp_path: Path) -> None:
    everything = shape("car", "rectangle", [[0, 0], [10**6, 10**6]])
    path = labelme(tmp_path / "a.json", everything, imageHeight=10**6, imageWidth=10**6)
    assert (reader()(path, Window(999_000, 7, 20, 30)) == 1).all()


def test_deep_json_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 10**6)
    with pytest.raises(ValueError, match=r"a\.json' is no JSON file that can be read"):
        reader()(tmp_path / "a.json")
    with pytest.raises(ValueError, match=r"a\.json' is no COCO file of instances"):
        coco_files(tmp_path / "a.json")


def test_an_outline_longer_than_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perpixel.data.annotations.geometry.MOST_CROSSINGS", 100)
    filled(np.array([(0, 0), (20, 0), (20, 30), (0, 30)], float), SIZE)
    with pytest.raises(ValueError, match="its 8 edges cross rows of pixels more than 100 times"):
        filled(np.array([(0, 0), (20, 30)] * 4, float), SIZE)


def test_run_lengths_of_more_pixels_than_an_image_has() -> None:
    with pytest.raises(ValueError, match=r"1048576×1048576 \(H×W\), more than"):
        decode_rle([1 << 20, 1 << 20], [1 << 40])


def photos(root: Path, names: list[str]) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng(len(name)).integers(0, 256, (*SIZE, 3), np.uint8)).save(path)


def scribbled(root: Path, count: int = 8) -> Path:
    photos(root, [f"images/{i}.jpg" for i in range(count)])
    for i in range(count):
        scribble = shape("road", "linestrip", [[2, 3 + i], [45, 3 + i]])
        labelme(root / "labels" / f"{i}.json", scribble, shape("car", "rectangle", [[20, 20], [30, 30]]))
    return root


def test_labelme_folders(tmp_path: Path) -> None:
    root = str(scribbled(tmp_path))
    source = Folder(root, CLASSES, masks="labels", encoding="labelme", line_width=5)
    source.split("train").verify()
    mask = source.split("train").read(0, rng(0)).mask
    assert set(np.unique(mask)) == {0, 1, 255}
    assert (mask == 1).sum() == 100
    complete = Folder(root, CLASSES, masks="labels", encoding="labelme", default_class="wire")
    assert set(np.unique(complete.split("train").read(0, rng(0)).mask)) == {0, 1, 2}
    assert complete.split("train").fingerprint() != source.split("train").fingerprint()
    with pytest.raises(ValueError, match=r"the class 'road' is unknown"):
        Folder(root, ["car"], masks="labels", encoding="labelme").split("train").verify()
    with pytest.raises(ValueError, match=r"data\.source\.default_class='sky' is not a class"):
        Folder(root, CLASSES, masks="labels", encoding="labelme", default_class="sky")
    with pytest.raises(ValueError, match="what nobody drew on needs a value"):
        Folder(root, CLASSES, masks="labels", encoding="labelme", ignore_index=None)


@pytest.mark.parametrize("rest", ["ignore: [car]\n", "rest: ignore\n"])
def test_a_policy_explains_the_names_of_shapes(tmp_path: Path, rest: str) -> None:
    classes = "classes:\n  - {name: ground, from: [road], rule: All that is flat.}\n"
    (tmp_path / "policy.yaml").write_text(rest + classes)
    policy = str(tmp_path / "policy.yaml")
    source = Folder(str(scribbled(tmp_path)), policy=policy, masks="labels", encoding="labelme")
    assert set(np.unique(source.split("train").read(0, rng(0)).mask)) == {0, 255}
    assert source.rules == {"ground": "All that is flat."}


def coco(path: Path, names: list[str], **more: Any) -> Path:
    """Every image holds a large car of two parts, a wire in run lengths on it, and a box without segmentation."""
    parts = [[5, 5, 45, 5, 45, 20, 5, 20], [5, 30, 45, 30, 45, 38, 5, 38]]
    runs = np.zeros(SIZE, bool)
    runs[10, 5:45] = True
    edges = np.flatnonzero(np.diff(runs.T.ravel())) + 1
    counts = np.diff([0, *edges, runs.size]).tolist()
    objects = [
        {"category_id": 9, "area": 40, "segmentation": {"size": list(SIZE), "counts": counts}, "iscrowd": 1},
        {"category_id": 3, "area": 920, "segmentation": parts},
        {"category_id": 1, "bbox": [0, 22, 50, 6], "segmentation": []},
    ]
    content = {
        "categories": [{"id": 1, "name": "road"}, {"id": 3, "name": "car"}, {"id": 9, "name": "wire"}],
        "images": [{"id": i, "file_name": name, "height": SIZE[0], "width": SIZE[1]} for i, name in enumerate(names)],
        "annotations": [one | {"id": i, "image_id": i} for i in range(len(names)) for one in objects],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | more))
    return path


def test_coco_instances(tmp_path: Path) -> None:
    names = [f"{i:012d}.jpg" for i in range(8)]
    photos(tmp_path / "images", names)
    coco(tmp_path / "annotations" / "instances.json", [*names, "not_here.jpg"])
    source = Folder(str(tmp_path), CLASSES, masks="annotations/instances.json", encoding="coco")
    split = source.split("train")
    split.verify()
    mask = split.read(0, rng(0)).mask
    expected = np.full(SIZE, 255, np.uint8)
    expected[5:20, 5:45], expected[30:38, 5:45], expected[22:28] = 1, 1, 0
    expected[10, 5:45] = 2  # the smaller object lies on top, wherever it stands in the file
    np.testing.assert_array_equal(mask, expected)
    assert split.pairs[0].mask != split.pairs[1].mask  # workers need not read the whole set


def test_coco_beside_the_images_of_each_split(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        names = ["a.jpg", "sub/../b.jpg"] if part == "train" else ["a.jpg"]
        photos(tmp_path / part, [Path(name).name for name in names])
        coco(tmp_path / part / "_annotations.coco.json", [Path(name).name for name in names])
    options = {"images": ".", "masks": ".", "encoding": "coco", "split": "folders"}
    source = Folder(str(tmp_path), CLASSES, **options)
    assert [len(source.split(name)) for name in ("train", "val")] == [2, 1]


def test_faulty_coco_files_are_explained(tmp_path: Path) -> None:
    photos(tmp_path / "images", ["a.jpg", "b.jpg"])
    coco(tmp_path / "c.json", ["a.jpg", "b.jpg"], annotations=[{"id": 5, "image_id": 0, "category_id": 77}])
    with pytest.raises(
        ValueError, match=r"c\.json': annotation 5 of image 0 has the category 77, .*; it has 1 \(road\), 3 \(car\)"
    ):
        Folder(str(tmp_path), CLASSES, masks="c.json", encoding="coco")
    coco(tmp_path / "d.json", ["../../a.jpg", "b.jpg"])  # a name must not lead out of the cache
    with pytest.raises(ValueError, match="1 of 2 images have no mask, first: 'a'"):
        Folder(str(tmp_path), CLASSES, masks="d.json", encoding="coco")
    assert not list(tmp_path.parent.glob("a*.json"))
    coco(tmp_path / "e.json", ["a.jpg", "b.jpg"])
    wrong = Folder(str(tmp_path), ["road", "cars", "wire"], masks="e.json", encoding="coco", fractions=[0.5, 0.5, 0])
    with pytest.raises(ValueError, match=r"e\.json: [ab]\.jpg', annotation 1: the class 'car' is unknown; .*'cars'"):
        wrong.split("train").verify()


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        (
            {"segmentation": {"size": [20, 30], "counts": [0, 600]}},
            r"size \[20, 30\], but the image is \[40, 50\] \(H, W\)",
        ),
        ({"segmentation": {"size": [50, 40], "counts": [0, 2000]}}, r"size \[50, 40\], but the image is \[40, 50\]"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "its points are no pairs of numbers"),
        ({"segmentation": [["1", "2", "3", "4", "5", "6"]]}, "its points are no pairs of numbers"),
        ({"segmentation": [[1, 2, 3, float("nan"), 5, 6]]}, "some of its points are infinite"),
        ({"bbox": [1, 2, float("inf"), 4]}, "some of its points are infinite"),
    ],
)
def test_faulty_annotations_of_coco_are_told_with_their_image(
    tmp_path: Path, drawn: dict[str, Any], message: str
) -> None:
    photos(tmp_path / "images", ["a.jpg", "b.jpg"])
    one = {"id": 77, "image_id": 0, "category_id": 3, "area": 1} | drawn
    coco(tmp_path / "c.json", ["a.jpg", "b.jpg"], annotations=[one, one | {"image_id": 1}])
    source = Folder(str(tmp_path), CLASSES, masks="c.json", encoding="coco", fractions=[0.5, 0.5, 0])
    with pytest.raises(ValueError, match=rf"are faulty:\n'c\.json: [ab]\.jpg', annotation 77: .*{message}"):
        source.split("train").verify()


@pytest.mark.parametrize("drawn", [{"segmentation": 5}, {"segmentation": [7]}, {"bbox": [1, 2]}, {}])
def test_annotations_of_coco_that_are_no_shape(tmp_path: Path, drawn: dict[str, Any]) -> None:
    one = {"id": 77, "image_id": 0, "category_id": 3, "area": 1} | drawn
    with pytest.raises(ValueError, match=r"c\.json': annotation 77 of image 0 is none that can be drawn.*it needs"):
        coco_files(coco(tmp_path / "c.json", ["a.jpg"], annotations=[one]))


def test_scribbled_pictures(make_folder: Callable[..., Path]) -> None:
    """0 is what nobody drew on, 1 the first class."""
    root = make_folder([str(i) for i in range(6)], mask=lambda rng: rng.integers(0, 4, (12, 14)).astype(np.uint8))
    source = Folder(str(root), CLASSES, reduce_zero_label=True)
    source.split("train").verify()
    sample = source.split("train").read(0, rng(0))
    stored = np.array(Image.open(root / "masks" / f"{sample.name}.png")).astype(int)
    np.testing.assert_array_equal(sample.mask, np.where(stored == 0, 255, stored - 1))


def test_scribbles_train_through_the_public_command(tmp_path: Path) -> None:
    result = perpixel.train(
        [
            "data=folder", f"data.source.root={scribbled(tmp_path, 12)}", "data.source.classes=[road,car,wire]",
            "data.source.masks=labels", "data.source.encoding=labelme", "data.source.line_width=4",
            "data.size=[32,32]", "data.batch_size=2", "data.num_workers=0", "model=starter_unet", "model.width=4",
            "model.convs_per_block=1", "trainer.max_epochs=1", "trainer.accelerator=cpu", "training.overlays=1",
            "trainer.enable_progress_bar=false", f"output={tmp_path / 'runs'}",
        ]
    )  # fmt: skip
    scores = json.loads((result.directory / "metrics.json").read_text())["test"]
    labelled = sum(map(sum, scores["confusion"]))
    assert 0 < labelled < 2 * SIZE[0] * SIZE[1] / 2  # nothing but what was drawn on is scored


def test_a_copied_set_has_the_same_hash(tmp_path: Path) -> None:
    prints = set()
    for place in ("here", "there"):
        names = [f"{i}.jpg" for i in range(4)]
        photos(tmp_path / place / "images", names)
        coco(tmp_path / place / "c.json", names)
        source = Folder(str(tmp_path / place), CLASSES, masks="c.json", encoding="coco", fractions=[0.5, 0.5, 0])
        prints.add(source.split("train").fingerprint())
    assert len(prints) == 1


def test_a_file_that_coco_lists_twice_keeps_all_objects(tmp_path: Path) -> None:
    photos(tmp_path / "images", ["a.jpg", "b.jpg"])
    size = {"height": SIZE[0], "width": SIZE[1]}
    images = [{"id": i, "file_name": name, **size} for i, name in enumerate(["a.jpg", "b.jpg", "a.jpg"])]
    objects = [{"image_id": i, "category_id": 3, "bbox": [10 * i, 0, 5, 5]} for i in range(3)]
    coco(tmp_path / "c.json", [], images=images, annotations=objects)
    source = Folder(str(tmp_path), CLASSES, masks="c.json", encoding="coco", fractions=[0.5, 0.5, 0])
    masks = {split.pairs[0].name: split.read(0, rng(0)).mask for split in map(source.split, ("train", "val"))}
    assert (masks["a"] == 1).sum() == 50
    images[2]["height"] = 7
    coco(tmp_path / "d.json", [], images=images, annotations=objects)
    with pytest.raises(ValueError, match=r"'a\.jpg' is listed twice, with different sizes"):
        Folder(str(tmp_path), CLASSES, masks="d.json", encoding="coco")


def test_an_image_in_two_coco_files_is_refused(tmp_path: Path) -> None:
    photos(tmp_path / "images", ["a.jpg", "b.jpg"])
    coco(tmp_path / "labels" / "first.json", ["a.jpg", "b.jpg"])
    coco(tmp_path / "labels" / "second.json", ["b.jpg"])
    with pytest.raises(ValueError, match=r"first\.json' and '.*second\.json' both annotate 'b\.jpg'"):
        Folder(str(tmp_path), CLASSES, masks="labels", encoding="coco")
