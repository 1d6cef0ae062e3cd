"""``predict``: files in, masks out, whatever is among the files."""

from __future__ import annotations

import errno
import io
import json
import shutil
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.commands import WarmShell
from tests.conftest import CLASSES, paint

import perpixel
from perpixel.inference.refine import Refinement
from perpixel.inference.sliding_window import SlidingWindow
from perpixel.spec import ModelSpec
from perpixel.workflows import predict, predicted_files
from perpixel.workflows.inputs import find_inputs, shard_of
from perpixel.workflows.predict import Outcome, Request, predict_files
from perpixel.workflows.predicted_files import Maps


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven images in two folders."""
    rng = np.random.default_rng(1)
    root = tmp_path / "photos"
    for name in ("a.png", "b.png", "c.png", "d.png", "x/a.png", "x/e.png", "x/f.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paint(rng, (32, 48))[0]).save(root / name)
    return root


def contents(output: Path) -> Mapping[str, bytes]:
    return {file.relative_to(output).as_posix(): file.read_bytes() for file in output.rglob("*") if file.is_file()}


def masks(output: Path) -> Mapping[str, np.ndarray]:
    root = output / "masks"
    return {file.relative_to(root).as_posix(): np.array(Image.open(file)) for file in sorted(root.rglob("*.png"))}


@pytest.fixture
def label(trained: Path, tmp_path: Path) -> Any:
    def label(inputs: Path | str, output: str = "out", **more: Any) -> Outcome:
        more = {"models": [trained], "maps": Maps(overlays=False), **more}
        return predict_files(Request(inputs=str(inputs), output=tmp_path / output, **more))

    return label


def test_the_command_labels_a_folder_and_goes_on(
    trained: Path, photos: Path, tmp_path: Path, warm_shell: WarmShell
) -> None:
    order = [f"run={trained}", f"input={photos}", f"output={tmp_path / 'out'}", "device=cpu"]
    order += ["probabilities=true", "confidence=true", "entropy=true"]
    told = warm_shell.run("predict", order)
    assert "7 images labelled, 0 were already, 0 could not be" in told
    assert "images/s" in told
    out = tmp_path / "out"
    expected = perpixel.load(trained, "cpu").predict(photos / "x" / "e.png")
    mask = Image.open(out / "masks" / "x" / "e.png")
    assert mask.mode == "P"
    assert np.array_equal(np.array(mask), expected.mask)
    assert len(np.unique(expected.mask)) > 1
    assert np.array_equal(np.array(mask.convert("RGB")), expected.labels.colour(expected.mask))
    assert np.array_equal(np.array(Image.open(out / "overlays" / "x" / "e.png")), expected.overlay())
    assert np.array_equal(np.load(out / "probabilities" / "x" / "e.npy"), expected.probabilities.astype(np.float16))
    for kind, share in (("confidence", expected.confidence), ("entropy", expected.entropy)):
        assert np.array_equal(np.array(Image.open(out / kind / "x" / "e.png")), np.rint(share * 255))
    assert json.loads((out / "predict.json").read_text())["classes"] == list(CLASSES)
    before = contents(out)
    (out / "masks" / "b.png").unlink()
    (out / "overlays" / "c.png").unlink()
    assert "2 images labelled, 5 were already" in warm_shell.run("predict", order)
    assert contents(out) == before, "what was made again is the same to the byte"


def test_bad_files_are_named_skipped_and_counted(
    trained: Path, photos: Path, tmp_path: Path, warm_shell: WarmShell
) -> None:
    whole = (photos / "a.png").read_bytes()
    picture = Image.open(photos / "a.png")
    frames = [Image.fromarray(np.roll(np.array(picture), shift, axis=1)) for shift in range(3)]
    (photos / "truncated.png").write_bytes(whole[: len(whole) // 2])
    picture.save(photos / "x.jpg", quality=95)
    (photos / "cut.jpg").write_bytes((photos / "x.jpg").read_bytes()[:-200])
    (photos / "x.jpg").unlink()
    (photos / "empty.png").write_bytes(b"")
    (photos / "text.jpg").write_text("no picture")
    frames[0].save(photos / "moves.gif", save_all=True, append_images=frames[1:])
    frames[0].save(photos / "moves.webp", save_all=True, append_images=frames[1:], lossless=True)
    frames[0].save(photos / "apng.png", save_all=True, append_images=frames[1:])
    tifffile.imwrite(photos / "deep.tif", np.zeros((8, 8, 3), np.uint16), photometric="rgb")
    np.save(photos / "bands.npy", np.zeros((8, 8, 5), np.uint8))
    (photos / "gone.png").symlink_to(photos / "nowhere.png")
    (photos / "notes.txt").write_text("no image, and nobody is bothered with it")
    told = warm_shell.run("predict", [f"run={trained}", f"input={photos}", f"output={tmp_path / 'out'}"], code=1)
    reasons = (tmp_path / "out" / "bad_files.txt").read_text()
    bad = ["truncated.png", "cut.jpg", "empty.png", "text.jpg", "moves.gif", "moves.webp", "apng.png", "deep.tif"]
    bad += ["bands.npy", "gone.png"]
    for name in bad:
        assert str(photos / name) in reasons, name
        assert str(photos / name) in told, name
    assert len(reasons.splitlines()) == len(bad)
    assert "animated (3 frames)" in reasons
    assert "uint16 values, but the model was trained on uint8" in reasons
    assert "has 5 channels, but the model was trained on images of 3" in reasons
    assert f"{len(bad)} files could not be labelled" in told
    assert "Traceback" not in told
    assert len(masks(tmp_path / "out")) == 7, "the others are done"
    assert not list((tmp_path / "out").rglob(".partial*"))


def test_every_kind_of_picture_is_labelled_upright_in_its_size(trained: Path, label: Any, tmp_path: Path) -> None:
    pixels, _ = paint(np.random.default_rng(5), (32, 48))
    root = tmp_path / "kinds"
    root.mkdir()
    picture = Image.fromarray(pixels)
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(root / "exif.png", exif=turned)
    with_alpha = picture.copy()
    with_alpha.putalpha(Image.fromarray(np.full((32, 48), 7, np.uint8)))
    with_alpha.save(root / "alpha.png")
    picture.convert("CMYK").save(root / "cmyk.tif")
    picture.convert("L").save(root / "grey.png")
    picture.crop((0, 0, 1, 1)).save(root / "dot.png")
    picture.save(root / "really_a_png.jpg", format="PNG")
    picture.save(root / "photo.webp", lossless=True)
    np.save(root / "array.npy", pixels)
    assert not label(root).bad
    found = masks(tmp_path / "out")
    model = perpixel.load(trained, "cpu")
    for file in root.iterdir():
        assert np.array_equal(found[f"{file.stem}.png"], model.predict(file).mask), file
    assert found["exif.png"].shape == (48, 32)
    assert found["dot.png"].shape == (1, 1)
    for name in ("alpha.png", "photo.png", "array.png", "really_a_png.png"):
        assert np.array_equal(found[name], model.predict(pixels).mask), name


def test_a_killed_prediction_leaves_no_half_and_goes_on(
    photos: Path, label: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(photos, "whole")
    real, calls = predict.Predictor.predict, []

    def breaks(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(predict.Predictor, "predict", breaks)
    with pytest.raises(KeyboardInterrupt):
        label(photos)
    assert len(masks(tmp_path / "out")) == 3
    assert not list((tmp_path / "out").rglob(".partial*"))
    outcome = label(photos)
    assert (outcome.done, outcome.skipped) == (4, 3)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_full_disk_ends_it_with_the_file_and_loses_nothing(
    photos: Path, label: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third file's bytes find no room."""
    real, opened = predicted_files.replacing, []

    @contextmanager
    def full(path: Path) -> Any:
        opened.append(path)
        with real(path) as file:
            yield _Full(file, path) if len(opened) == 3 else file

    monkeypatch.setattr(predicted_files, "replacing", full)
    with pytest.raises(OSError, match=r"No space left.*c\.png"):
        label(photos)
    assert sorted(masks(tmp_path / "out")) == ["a.png", "b.png"]
    assert not list((tmp_path / "out").rglob(".partial*"))
    monkeypatch.undo()
    assert label(photos).skipped == 2


class _Full(io.BytesIO):
    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__()
        self.path = path

    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self.path))


def test_nothing_is_overwritten(photos: Path, label: Any, tmp_path: Path, trained: Path) -> None:
    with pytest.raises(ValueError, match="is the input folder"):
        label(photos, "photos")
    with pytest.raises(ValueError, match="lies in output="):
        label(photos / "x", "photos")
    own = tmp_path / "mine"
    own.mkdir()
    (own / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds files that are no predictions"):
        label(photos, "mine")
    assert (own / "thesis.txt").read_text() == "years of work"
    label(photos)
    before = contents(tmp_path / "out")
    with pytest.raises(ValueError, match="tta="):
        label(photos, tta=["hflip"])
    Image.open(photos / "a.png").rotate(180).save(photos / "a.png")
    outcome = label(photos)
    assert list(outcome.bad) == [str(photos / "a.png")]
    assert "made of another file" in outcome.bad[str(photos / "a.png")]
    del (after := dict(contents(tmp_path / "out")))["bad_files.txt"]
    assert after == before


def test_results_within_the_input_are_no_inputs(photos: Path, label: Any) -> None:
    assert label(photos, "photos/labelled").done == 7
    assert label(photos, "photos/labelled").skipped == 7


def test_shards_together_are_the_plain_loop_to_the_byte(photos: Path, label: Any, tmp_path: Path) -> None:
    label(photos, "plain")
    done = [label(photos, "shards", shard=f"{number}/3").done for number in range(3)]
    assert done == [3, 2, 2]
    assert contents(tmp_path / "shards") == contents(tmp_path / "plain")
    for wrong in ("3/3", "1", "-1/2", "a/b"):
        with pytest.raises(ValueError, match="shard="):
            shard_of([], wrong)


def test_inputs_are_a_file_a_folder_a_glob_a_list_or_lines(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(given: Any) -> list[str]:
        return [one.name for one in find_inputs(given, tmp_path / "out")]

    assert names(str(photos)) == ["a", "b", "c", "d", "x/a", "x/e", "x/f"]
    assert names(str(photos / "x" / "e.png")) == ["e"]
    assert names(f"{photos}/*/*.png") == ["x/a", "x/e", "x/f"]
    assert names(f"{photos}/**/a.png") == ["a", "x/a"]
    (tmp_path / "some.txt").write_text("photos/a.png\n\nphotos/x/a.png\nphotos/gone.png\n")
    assert names(str(tmp_path / "some.txt")) == ["a", "x/a", "gone"], "below what they share"
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{photos}/x/e.png\n{photos}/x/f.png\n"))
    assert names("-") == ["e", "f"]
    assert names([str(photos / "a.png"), str(photos / "b.png")]) == ["a", "b"]
    shutil.copy(photos / "a.png", photos / "a.webp")
    (photos / ".hidden.png").write_bytes(b"")
    assert names(str(photos)) == ["a.png", "a.webp", "b", "c", "d", "x/a", "x/e", "x/f"], "names stay apart"
    for missing in ("nowhere", "nowhere/*.png"):
        with pytest.raises(ValueError, match="input=nowhere"):
            names(missing)


def test_a_folder_that_cannot_be_read_is_an_error(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an empty one."""
    real = predict.find_inputs.__globals__["os"].scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("/x"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(PermissionError, match="photos/x"):
        find_inputs(str(photos), photos / "out")


def test_original_ids_are_what_the_training_masks_stored(
    trained: Path, photos: Path, label: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(photos / "a.png", "index")
    label(photos / "a.png", "same", ids="original")
    index = masks(tmp_path / "index")["a.png"]
    assert np.array_equal(masks(tmp_path / "same")["a.png"], index)
    real = ModelSpec.from_json

    def give(ids: tuple[int, ...] | None) -> None:
        monkeypatch.setattr(ModelSpec, "from_json", lambda *given: replace(real(*given), original_ids=ids))

    for name, ids, dtype in (("bytes", (7, 26, 0), np.uint8), ("deep", (7, 26, 1000), np.uint16)):
        give(ids)
        label(photos / "a.png", name, ids="original")
        found = masks(tmp_path / name)["a.png"]
        assert np.array_equal(found, np.array(ids)[index])
        assert found.dtype == dtype
    shown, expected = (Image.open(tmp_path / name / "masks" / "a.png").convert("RGB") for name in ("bytes", "index"))
    assert np.array_equal(np.array(shown), np.array(expected))
    give(None)
    with pytest.raises(ValueError, match="ids=original"):
        label(photos / "a.png", "none", ids="original")
    with pytest.raises(ValueError, match="ids=mine"):
        label(photos / "a.png", "none", ids="mine")
    assert not (tmp_path / "none").exists(), "refused before anything is written"


def test_large_images_are_streamed_and_equal_windows_over_the_whole(
    trained: Path, label: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiled TIFF and a NumPy file are read by window, a PNG is decoded once; all give one mask."""
    rng = np.random.default_rng(2)
    pixels = np.concatenate([paint(rng, (40, 140))[0] for _ in range(5)])
    root = tmp_path / "large"
    root.mkdir()
    tifffile.imwrite(root / "tiled.tif", pixels, tile=(32, 32), photometric="rgb", compression="zlib")
    np.save(root / "array.npy", pixels)
    Image.fromarray(pixels).save(root / "photo.png")
    monkeypatch.setattr(predict, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr("perpixel.data.formats.windowed.WHOLE_BYTES", 1000)
    monkeypatch.setattr("perpixel.bundle.predictor.LEAST_WINDOW", 64)
    monkeypatch.setattr("perpixel.bundle.predictor.BAND_VALUES", 140 * 3 * 5)
    maps = Maps(overlays=True, confidence=True, probabilities=True)
    assert not label(root, maps=maps).bad
    model = perpixel.load(trained, "cpu", window=64)
    expected = model.predict(pixels)
    for name, mask in masks(tmp_path / "out").items():
        assert np.array_equal(mask, expected.mask), name
        assert np.array_equal(np.array(Image.open(tmp_path / "out" / "overlays" / name)), expected.overlay()), name
        probabilities = np.load(tmp_path / "out" / "probabilities" / f"{Path(name).stem}.npy")
        assert np.array_equal(probabilities, expected.probabilities.astype(np.float16)), name


def test_large_images_are_refined_whole_from_windows(
    trained: Path, label: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.concatenate([paint(np.random.default_rng(2), (40, 90))[0] for _ in range(2)])
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    monkeypatch.setattr(predict, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr("perpixel.bundle.predictor.LEAST_WINDOW", 64)
    label(tmp_path / "photo.png", refine=Refinement(small=30))
    expected = perpixel.load(trained, "cpu", window=64, refine=Refinement(small=30)).predict(pixels)
    assert np.array_equal(masks(tmp_path / "out")["photo.png"], expected.mask)


def test_a_streamed_file_that_is_damaged_below_leaves_nothing(
    label: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (300, 64, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "cut.tif", pixels, tile=(32, 32), photometric="rgb")
    whole = (tmp_path / "cut.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[:-5000])
    monkeypatch.setattr("perpixel.data.formats.windowed.WHOLE_BYTES", 1000)
    outcome = label(tmp_path / "cut.tif", window=SlidingWindow((64, 64)))
    assert "cut short" in outcome.bad[str(tmp_path / "cut.tif")]
    assert not list((tmp_path / "out").rglob("*.png*"))


def test_refinement_is_asked_for_by_keys(trained: Path, photos: Path, tmp_path: Path) -> None:
    from perpixel.cli.predict import predict as run
    from perpixel.config import compose

    order = [f"run={trained}", f"input={photos}", f"output={tmp_path / 'out'}", "overlays=false", "device=cpu"]
    run(compose([*order, "refine.opening={disc:2}", "refine.small=20"], "predict").cfg)
    model = perpixel.load(trained, "cpu", refine=Refinement(opening={"disc": 2}, small=20))
    assert np.array_equal(masks(tmp_path / "out")["b.png"], model.predict(photos / "b.png").mask)


@pytest.mark.parametrize("value", ["window=abc", "window=[1,2,3]", "window=0", "overlap=1", "blend=best", "tta=[flip]"])
def test_impossible_settings_are_refused_before_anything_is_written(
    value: str, trained: Path, photos: Path, tmp_path: Path
) -> None:
    from perpixel.cli.predict import predict as run
    from perpixel.config import compose

    key = value.partition("=")[0]
    more = [] if key in ("window", "tta") else ["window=64"]
    order = [f"run={trained}", f"input={photos}", f"output={tmp_path / 'out'}", value, *more]
    with pytest.raises(ValueError, match=key):
        run(compose(order, "predict").cfg)
    assert not (tmp_path / "out").exists()
