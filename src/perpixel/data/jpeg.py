"""JPEGs whose data end before the picture does, though the file has a proper end.

libjpeg fills the rest with grey and no more than warns, on the standard error of the process.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

_END = b"\xff\xd9"
_MORE = bytes(range(1, 200)) * 2
"""Something to decode; no byte of it begins a marker."""


def ends_early(path: Path) -> bool:
    """Whether a JPEG's pixels change when more data is put before its end: a whole picture does not look at them.

    It costs two decodings, of a picture that is not progressive at an eighth of the size.
    """
    data = path.read_bytes()
    if not data.endswith(_END):
        return False
    first, second = (_decoded(variant) for variant in (data, data[:-2] + _MORE + _END))
    return first is None or first != second


def _decoded(data: bytes) -> bytes | None:
    """By Pillow, which keeps libjpeg's warnings off the terminal."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if not image.info.get("progressive"):  # later scans add details only, which a small picture does not show
                image.draft("L", (image.width // 8, image.height // 8))
            return image.tobytes()
    except (OSError, SyntaxError, ValueError):
        return None
