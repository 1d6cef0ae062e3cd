"""GeoTIFF in, GeoTIFF out: the mask lies where its raster does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conftest import CLASSES, paint

import perpixel
from perpixel.data.annotations.outlines import as_geojson
from perpixel.inference.sliding_window import SlidingWindow
from perpixel.workflows import predict
from perpixel.workflows.predict import Outcome, Request, predict_files
from perpixel.workflows.predicted_files import Maps

rasterio = pytest.importorskip("rasterio")
shapely = pytest.importorskip("shapely")
pytest.importorskip("rasterio.warp")
pytest.importorskip("rasterio.features")


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    """130×150 pixels of half a metre in UTM 32N, with overviews, and a corner without measurements."""
    rng = np.random.default_rng(0)
    pixels = np.concatenate([np.concatenate([paint(rng, (65, 50))[0] for _ in range(3)], axis=1) for _ in range(2)])
    pixels = pixels.clip(1)
    pixels[:40, :30] = 0
    path = tmp_path / "rasters" / "city.tif"
    path.parent.mkdir()
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=130,
        width=150,
        count=3,
        dtype="uint8",
        crs="EPSG:32632",
        transform=rasterio.transform.from_origin(500000, 5400000, 0.5, 0.5),
        nodata=0,
        tiled=True,
        blockxsize=32,
        blockysize=32,
        compress="lzw",
        photometric="RGB",
    ) as target:
        target.write(pixels.transpose(2, 0, 1))
        target.build_overviews([2, 4], rasterio.enums.Resampling.average)
    return path


def label(trained: Path, inputs: Path, output: Path, **more: Any) -> Outcome:
    return predict_files(Request([trained], str(inputs), output, maps=Maps(overlays=False), **more))


@pytest.mark.parametrize("window", [None, SlidingWindow((64, 64))], ids=["whole", "by window"])
def test_a_mask_has_its_rasters_place_nodata_and_overviews(
    trained: Path, raster: Path, tmp_path: Path, window: SlidingWindow | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perpixel.data.formats.windowed.WHOLE_BYTES", 1000)
    monkeypatch.setattr("perpixel.bundle.predictor.BAND_VALUES", 150 * 3 * 20)
    assert not label(trained, raster, tmp_path / "out", window=window).bad
    model = perpixel.load(trained, "cpu", window=None if window is None else 64)
    expected = model.predict(raster).mask.astype(int)
    expected[:40, :30] = 255
    with rasterio.open(tmp_path / "out" / "masks" / "city.tif") as found, rasterio.open(raster) as source:
        assert np.array_equal(found.read(1), expected)
        assert found.crs == source.crs
        assert found.transform == source.transform
        assert found.nodata == 255
        assert found.overviews(1) == [2, 4]
        assert set(np.unique(found.read(1, out_shape=(65, 75)))) <= set(np.unique(expected)), "classes have no mean"
        assert found.colormap(1)[1][:3] == model.spec.labels.palette[1]
    assert label(trained, raster, tmp_path / "out", window=window).skipped == 1
    assert not list((tmp_path / "out").rglob("*partial*"))


def test_nan_marks_what_was_not_measured(trained: Path, raster: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Of a model for float32 rasters."""
    from dataclasses import replace

    from perpixel.spec import ModelSpec

    with rasterio.open(raster) as source:
        profile = {**source.profile, "dtype": "float32", "nodata": np.nan}
        pixels = source.read().astype(np.float32) / 255
    pixels[:, :40, :30] = np.nan
    with rasterio.open(raster.with_name("heights.tif"), "w", **profile) as target:
        target.write(pixels)
    real = ModelSpec.from_json
    monkeypatch.setattr(ModelSpec, "from_json", lambda *given: replace(real(*given), image_dtype="float32"))
    outcome = label(trained, raster.with_name("heights.tif"), tmp_path / "out")
    assert not outcome.bad
    expected = perpixel.load(trained, "cpu").predict(np.nan_to_num(pixels.transpose(1, 2, 0))).mask.astype(int)
    expected[:40, :30] = 255
    with rasterio.open(tmp_path / "out" / "masks" / "heights.tif") as found:
        assert np.array_equal(found.read(1), expected)


def test_a_failure_on_the_way_leaves_no_mask(trained: Path, raster: Path, tmp_path: Path, monkeypatch: Any) -> None:
    real = predict.Predictor.stream

    def breaks(self: Any, *given: Any) -> Any:
        yield next(real(self, *given))
        raise KeyboardInterrupt

    monkeypatch.setattr(predict.Predictor, "stream", breaks)
    with pytest.raises(KeyboardInterrupt):
        label(trained, raster, tmp_path / "out", window=SlidingWindow((64, 64)))
    assert not list((tmp_path / "out" / "masks").iterdir())


def test_without_rasterio_a_png_is_written_and_said_so(
    trained: Path, raster: Path, tmp_path: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("perpixel.workflows.predicted_files.can_write", lambda: False)
    assert not label(trained, raster, tmp_path / "out").bad
    assert Image.open(tmp_path / "out" / "masks" / "city.png").size == (150, 130)
    assert "perpixel[geo]" in caplog.text


def test_polygons_cover_the_mask_without_gaps_and_lie_on_the_ground(
    trained: Path, raster: Path, tmp_path: Path
) -> None:
    request = Request([trained], str(raster), tmp_path / "out", maps=Maps(overlays=False, polygons="geojson"))
    assert not predict_files(request).bad
    found = json.loads((tmp_path / "out" / "polygons" / "city.geojson").read_text())["features"]
    with rasterio.open(tmp_path / "out" / "masks" / "city.tif") as mask:
        values, crs, transform = mask.read(1), mask.crs, mask.transform
    for value, name in enumerate(CLASSES):
        pixels = sum(one["properties"]["pixels"] for one in found if one["properties"]["class"] == name)
        assert pixels == np.count_nonzero(values == value), "what was not measured is in no polygon"
    back = [
        (rasterio.warp.transform_geom("EPSG:4326", crs, one["geometry"]), one["properties"]["value"]) for one in found
    ]
    burnt = rasterio.features.rasterize(back, values.shape, fill=255, transform=transform)
    assert np.array_equal(burnt, values)
    for tolerance in (2.0, 4.0):
        shapes = as_geojson(values, (0, 1, 2), CLASSES, tolerance)["features"]
        geometries = [shapely.geometry.shape(one["geometry"]) for one in shapes]
        assert shapely.coverage_is_valid(geometries), "neighbours keep a common border"
        plain = as_geojson(values, (0, 1, 2), CLASSES)["features"]
        assert len(json.dumps(shapes)) < len(json.dumps(plain))


def test_a_geopackage_covers_the_mask_in_the_rasters_own_system(trained: Path, raster: Path, tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    request = Request([trained], str(raster), tmp_path / "out", maps=Maps(overlays=False, polygons="gpkg"))
    assert not predict_files(request).bad
    meta, _, geometries, columns = pyogrio.raw.read(tmp_path / "out" / "polygons" / "city.gpkg", layer="classes")
    with rasterio.open(tmp_path / "out" / "masks" / "city.tif") as mask:
        values, crs, transform = mask.read(1), mask.crs, mask.transform
    found = dict(zip(meta["fields"], columns, strict=True))
    assert rasterio.crs.CRS.from_user_input(meta["crs"]) == crs
    shapes = zip(shapely.from_wkb(geometries), found["value"].tolist(), strict=True)
    assert np.array_equal(rasterio.features.rasterize(shapes, values.shape, fill=255, transform=transform), values)
    assert set(found["class"]) <= set(CLASSES)
    assert found["pixels"].sum() == (values != 255).sum()


def test_run_lengths_are_the_masks(trained: Path, raster: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    request = Request([trained], str(raster), tmp_path / "out", maps=Maps(overlays=False, polygons="coco"))
    assert not predict_files(request).bad
    found = json.loads((tmp_path / "out" / "polygons" / "city.json").read_text())
    with rasterio.open(tmp_path / "out" / "masks" / "city.tif") as mask:
        values = mask.read(1)
    for one in found["annotations"]:
        expected = values == one["category_id"] - 1
        assert np.array_equal(coco.decode(one["segmentation"]), expected)
        assert one["area"] == expected.sum()
    assert [one["name"] for one in found["categories"]] == list(CLASSES)


def test_unknown_outlines_are_refused(trained: Path, raster: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="polygons=shapefile: choose one of geojson, gpkg, coco"):
        predict_files(Request([trained], str(raster), tmp_path / "out", maps=Maps(polygons="shapefile")))
