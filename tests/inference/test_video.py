"""Videos in, videos out: times, length and orientation are kept, masks are those of the frames."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from tests.conftest import paint

import perpixel
from perpixel.data.formats.video import VideoReader, VideoWriter, is_video
from perpixel.inference.smoothing import Smoothing
from perpixel.workflows.predict import Outcome, Request, predict_files
from perpixel.workflows.predicted_files import Maps

TIMES = [0, 1, 2, 4, 5, 9, 10]
"""Of the frames, in 1/12 s: the rate varies."""


def film(path: Path, frames: Sequence[np.ndarray], codec: str = "libx264rgb") -> Path:
    """RGB frames without loss."""
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "a test"
        stream = container.add_stream(codec, rate=12, options={"crf": "0"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "rgb24"
        stream.codec_context.time_base = Fraction(1, 12)
        for time, pixels in zip(TIMES, frames, strict=False):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 12)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def frames() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [paint(rng, (32, 48))[0] for _ in TIMES]


@pytest.fixture
def label(trained: Path, tmp_path: Path) -> Callable[..., Outcome]:
    def label(inputs: Path, maps: Maps | None = None, smoothing: float = 0.0) -> Outcome:
        return predict_files(
            Request([trained], str(inputs), tmp_path / "out", maps=maps or Maps(), smoothing=smoothing)
        )

    return label


def read(path: Path) -> tuple[list[np.ndarray], list[Fraction]]:
    """(frames as stored, seconds of each)."""
    with av.open(str(path)) as container:
        found = list(container.decode(video=0))
    return [frame.to_ndarray() for frame in found], [frame.pts * frame.time_base for frame in found]


def test_masks_are_those_of_the_frames_at_their_times(
    trained: Path, frames: list[np.ndarray], label: Callable[..., Outcome], tmp_path: Path
) -> None:
    clip = film(tmp_path / "clip.mkv", frames)
    assert label(clip).done == 1
    masks, times = read(tmp_path / "out/masks/clip.mkv")
    predictor = perpixel.load(trained)
    for mask, pixels in zip(masks, frames, strict=True):
        np.testing.assert_array_equal(mask, predictor.predict(pixels).mask)
    assert len({mask.tobytes() for mask in masks}) > 1
    near = pytest.approx([time / 12 for time in TIMES], abs=2e-3)  # Matroska counts milliseconds
    assert list(map(float, times)) == near
    shown, shown_at = read(tmp_path / "out/overlays/clip.mp4")
    assert len(shown) == len(TIMES)
    assert list(map(float, shown_at)) == near


def test_a_finished_video_is_skipped_and_a_changed_one_refused(
    frames: list[np.ndarray], label: Callable[..., Outcome], tmp_path: Path
) -> None:
    clip = film(tmp_path / "clip.mkv", frames)
    label(clip)
    assert label(clip).skipped == 1
    film(clip, frames[:3])
    assert "made of another file" in str(label(clip).bad)


def test_a_damaged_video_costs_itself_alone_and_leaves_nothing(
    frames: list[np.ndarray], label: Callable[..., Outcome], tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    whole = film(folder / "whole.mkv", frames)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.avi").write_text("no video")
    outcome = label(folder)
    assert (outcome.done, len(outcome.bad)) == (1, 2)
    assert all("cannot be read as a video" in reason for reason in outcome.bad.values())
    left = {path.name for path in (tmp_path / "out/masks").iterdir()}
    assert left == {whole.name}


def test_maps_that_videos_do_not_get_are_named(
    frames: list[np.ndarray], label: Callable[..., Outcome], tmp_path: Path
) -> None:
    clip = film(tmp_path / "clip.mkv", frames)
    outcome = label(clip, Maps(confidence=True, entropy=True))
    assert "leave out confidence, entropy" in outcome.bad[str(clip)]
    assert not list((tmp_path / "out").rglob("*clip*"))


def test_frames_are_turned_upright(frames: list[np.ndarray], tmp_path: Path) -> None:
    """As a phone writes them: the picture lies on its side, and the track's matrix says by how much."""
    clip = film(tmp_path / "clip.mp4", frames)
    content = bytearray(clip.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # version 0: behind times, track, duration, layer and volume
    one, turned = 1 << 16, [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]  # a quarter clockwise
    assert struct.unpack_from(">i", content, matrix) == (one,)
    struct.pack_into(">9i", content, matrix, *turned)
    clip.write_bytes(content)
    with VideoReader(clip) as reader:
        found = [frame.pixels for frame in reader]
    np.testing.assert_array_equal(found, [np.rot90(pixels, -1) for pixels in frames])


@pytest.mark.parametrize("shape", [(32, 48), (33, 47)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_are_kept_without_loss_at_any_size(
    shape: tuple[int, int], dtype: type, frames: list[np.ndarray], tmp_path: Path
) -> None:
    clip = film(tmp_path / "clip.mkv", frames)
    masks = [np.random.default_rng(n).integers(0, np.iinfo(dtype).max, shape).astype(dtype) for n in range(3)]
    with VideoReader(clip) as reader, (tmp_path / "mask.mkv").open("wb") as file:
        writer = VideoWriter(file, shape, reader, np.dtype(dtype))
        for number, mask in enumerate(masks):
            writer.write(mask, number * 83)
        writer.close()
    found, _ = read(tmp_path / "mask.mkv")
    np.testing.assert_array_equal(found, masks)


def test_smoothing_follows_its_recurrence_and_begins_anew_at_a_cut() -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(6, 3, 4, 5))).float()
    scene, other = np.full((4, 5, 3), 40, np.uint8), np.full((4, 5, 3), 200, np.uint8)
    smoothing, expected = Smoothing(0.6), None
    for number, pixels in enumerate([scene, scene, scene, other, other, other]):
        own = logits[number].softmax(0)
        expected = own if expected is None or number == 3 else 0.6 * expected + 0.4 * own
        found = smoothing(logits[number], pixels).softmax(0)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert smoothing.cuts == 1


def test_without_smoothing_logits_are_untouched() -> None:
    logits = torch.zeros(2, 3, 3)
    assert Smoothing(0.0)(logits, np.zeros((3, 3, 3), np.uint8)) is logits
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match="smoothing="):
            Smoothing(share)


def test_names_of_videos() -> None:
    assert is_video(Path("a.MP4"))
    assert not is_video(Path("a.tif"))
