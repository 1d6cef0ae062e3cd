"""Parts of JPEG and PNG files, at a part of the cost of the whole; the pixels are the same.

A JPEG's entropy code must be read from its beginning to the window's last row, but only blocks that touch the window
are turned into pixels. A PNG's rows below the window are not read, and those above it only because each row is coded as
a difference to the one before. Both need the packages of the extra ``fast``; without them there is no part, and callers
decode the file and cut.
"""

from __future__ import annotations

import os
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.data.formats.png import SIGNATURE, chunks
from perpixel.windows import Window

Bytes = npt.NDArray[np.uint8]

_CPU = -99999
"""nvImageCodec's number for "no GPU" (NVIMGCODEC_DEVICE_CPU_ONLY)."""

_GREY, _RGB, _PALETTE = b"\x08\x00\x00\x00\x00", b"\x08\x02\x00\x00\x00", b"\x08\x03\x00\x00\x00"
_COLOURS = {_GREY: ("mono", _GREY), _RGB: ("rgb", _RGB), _PALETTE: ("mono", _GREY)}
"""Depth, colour type and methods of a PNG → how it is decoded; without its palette, indices are a grey picture."""


def jpeg_part(data: bytes, window: Window) -> Bytes | None:
    """A window of an RGB JPEG, as it is stored (not turned upright): (height, width, 3).

    None where it cannot be had: the extra is not installed, or the file is damaged up to the window's end.
    """
    decode = _jpeg_decoder(os.getpid(), threading.get_ident())
    return decode(data, window) if decode else None


def png_rows(data: bytes, rows: int) -> Bytes | None:
    """The first rows of an 8-bit PNG: grey or the indices of a palette (rows, W), or RGB (rows, W, 3).

    None where they cannot be had: the extra is not installed, the file is of another kind or interlaced, or it is
    damaged up to there (chunks' checksums are compared).
    """
    decode = _png_decoder()
    colour = _COLOURS.get(data[24:29])
    if decode is None or colour is None or not data.startswith(SIGNATURE):
        return None
    mode, stored_as = colour
    header = b"IHDR" + data[16:20] + rows.to_bytes(4, "big") + stored_as
    shorter = data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[_pixels_of(data) :]
    try:
        pixels = np.asarray(decode(shorter, (rows, int.from_bytes(data[16:20], "big")), mode))
    except Exception:  # its only error type; the caller decodes the whole file and says what is wrong
        return None
    return pixels if mode == "rgb" else pixels[..., 0]


def _pixels_of(data: bytes) -> int:
    """Where the first chunk of pixels begins."""
    return next((start - 8 for kind, start, _ in chunks(data) if kind == b"IDAT"), len(data))


@lru_cache(maxsize=1)
def _png_decoder() -> Callable[..., Any] | None:
    try:
        from kornia_rs.io import decode_image_png_u8
    except ImportError:
        return None
    decode: Callable[..., Any] = decode_image_png_u8
    return decode


@lru_cache(maxsize=8)
def _jpeg_decoder(process: int, thread: int) -> Callable[[bytes, Window], Bytes | None] | None:
    """A decoder of this process and thread: it has a thread of its own, which does not survive a fork."""
    try:
        with _without_stderr():  # it complains about CUDA libraries, of which none is wanted
            from nvidia import nvimgcodec

            backends = [nvimgcodec.Backend(nvimgcodec.CPU_ONLY)]
            decoder = nvimgcodec.Decoder(device_id=_CPU, max_num_cpu_threads=1, backends=backends)
    except (ImportError, RuntimeError):
        return None
    params = nvimgcodec.DecodeParams(apply_exif_orientation=False, color_spec=nvimgcodec.ColorSpec.SRGB)

    def decode(data: bytes, window: Window) -> Bytes | None:
        top, left, height, width = window
        region = nvimgcodec.Region(top, left, top + height, left + width)
        image = decoder.decode(nvimgcodec.CodeStream(data).get_sub_code_stream(region=region), params=params)
        return None if image is None else np.asarray(image.cpu())

    return decode


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Silence what C libraries print."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
