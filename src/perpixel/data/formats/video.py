"""Videos, frame by frame, through PyAV (the ``video`` extra): upright RGB in, the same frames' times out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av import VideoStream

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
EXTRA = "video"


class Frame(NamedTuple):
    """One picture of a video.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, upright.
        pts: its time, in units of the video's ``time_base``.
    """

    pixels: npt.NDArray[np.uint8]
    pts: int


def is_video(path: Path) -> bool:
    """Whether a file's name ends as a video's."""
    return path.suffix.lower() in VIDEO_SUFFIXES


class VideoReader:
    """The first video stream of a file.

    Args:
        path: the file.

    Attributes:
        time_base: seconds of a unit of time.
        rate: frames a second, on average.

    Raises:
        ValueError: PyAV is not installed, or the file holds no video that can be read.
    """

    def __init__(self, path: Path) -> None:
        if find_spec("av") is None:
            raise ValueError(f"'{path}' is a video, which needs PyAV: pip install 'perpixel[video]'.")
        import av

        self.path = path
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except IndexError:
            self._container.close()
            raise ValueError(f"'{path}' holds no video stream.") from None
        except av.error.FFmpegError as error:
            raise ValueError(f"'{path}' cannot be read as a video: {error.strerror}.") from None
        self._stream.thread_type = "AUTO"
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or 25)
        self.time_base = Fraction(self._stream.time_base or 1 / self.rate)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames in the order of their times.

        Raises:
            ValueError: the file is damaged.
        """
        import av

        last = -1
        try:
            for frame in self._container.decode(self._stream):
                pixels = frame.to_ndarray(format="rgb24")
                turns = round(frame.rotation / 90) % 4  # degrees counter-clockwise, from the display matrix
                last = max(last + 1, frame.pts if frame.pts is not None else last + 1)
                yield Frame(np.ascontiguousarray(np.rot90(pixels, turns)), last)
        except av.error.FFmpegError as error:
            raise ValueError(f"'{self.path}' is damaged behind frame {last}: {error.strerror}.") from None


class VideoWriter:
    """Writes frames of one size into an open file.

    Args:
        file: where to; seekable.
        shape: (H, W).
        reader: the video whose times the frames have.
        dtype: None for a film in colours (H.264 in MP4); uint8 or uint16 for masks, kept without loss (FFV1 in
            Matroska, grey).
        comment: kept in the file's metadata (see :func:`read_comment`).
    """

    def __init__(
        self,
        file: BinaryIO,
        shape: tuple[int, int],
        reader: VideoReader,
        dtype: np.dtype[Any] | None = None,
        comment: str = "",
    ) -> None:
        import av

        self._container = av.open(file, "w", format="mp4" if dtype is None else "matroska")
        self._container.metadata["comment"] = comment
        codec, options = ("libx264", {"crf": "18"}) if dtype is None else ("ffv1", {"level": "3"})
        stream = self._container.add_stream(codec, rate=reader.rate, options=options)
        self._stream = cast("VideoStream", stream)
        self._stream.height, self._stream.width = shape
        self._stream.codec_context.time_base = reader.time_base
        self._time_base = reader.time_base
        if dtype is None:  # colours of half the size need even sides
            self._format, self._stream.pix_fmt = "rgb24", "yuv444p" if any(side % 2 for side in shape) else "yuv420p"
        else:
            self._format = self._stream.pix_fmt = "gray" if dtype == np.uint8 else "gray16le"

    def write(self, pixels: npt.NDArray[Any], pts: int) -> None:
        """Add a frame: (H, W, 3) uint8 RGB, or a mask (H, W)."""
        import av

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=self._format)
        frame.pts, frame.time_base = pts, self._time_base
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is still held, and the index."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


@contextmanager
def writing(writer: VideoWriter) -> Iterator[VideoWriter]:
    """Close a writer behind the block; where the block fails, its file is given up by whoever opened it."""
    yield writer
    writer.close()


def read_comment(path: Path) -> str | None:
    """What ``VideoWriter`` was given as comment; None where there is none, or the file cannot be read."""
    import av

    try:
        with av.open(str(path)) as container:
            found = {key.lower(): value for key, value in container.metadata.items()}
            return found.get("comment")
    except av.error.FFmpegError:
        return None
