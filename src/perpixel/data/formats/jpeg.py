"""JPEGs whose data end before the picture does, though the file has a proper end.

libjpeg fills the rest with grey and no more than warns, on the standard error of the process. So the file's markers are
walked here (ITU-T T.81, B.1), and what a decoder ignores is told from what it uses by changing it.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

SIGNATURE = b"\xff\xd8\xff"

_END = b"\xff\xd9"
_MORE = bytes(range(1, 200)) * 2
"""Something to decode; no byte of it begins a marker."""

_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_AFTER_SCAN = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # a stuffed FF and restarts are part of a scan
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
_NOTES = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # EXIF, previews, colour profiles, comments: all but JFIF's and Adobe's
_SCAN, _EOI, _PROGRESSIVE = 0xDA, 0xD9, 0xC2
_FILL = 32
"""Half the zeros, at a scan's end, from which on they are looked at closely: a copy that broke off leaves thousands."""


def ends_early(path: Path) -> bool:
    """Whether a JPEG shows less than its whole picture, whatever comes behind its end.

    More data put before the end must not change the pixels: a whole picture does not look at them. Zeros there, which a
    decoder takes for data until the picture is full, must be needed to the last. And the scans of a progressive picture
    must bring every coefficient to its last bit.

    It costs two decodings, of a picture that is not progressive at an eighth of the size.
    """
    walked = _walked(path.read_bytes())
    if walked.progressive and not walked.complete:
        return True
    more = _MORE + b"\xff" + bytes([0xD0 + walked.restarts % 8]) + _MORE  # a restart may be what is waited for
    first = _decoded(walked.body + _END)
    if first is None or first != _decoded(walked.body + more + _END):
        return True
    filled = walked.body.endswith(bytes(2 * _FILL))
    return filled and first == _decoded(walked.body[:-_FILL] + _MORE[:_FILL] + _END)


@dataclass
class _Walked:
    """A JPEG up to its own end: previews before it and pictures behind it have ends, too.

    Attributes:
        body: without notes, and without the end.
        restarts: markers of restart in the last scan.
        bits: by component and coefficient, how many lowest bits are still to come; for progressive pictures.
    """

    body: bytes = b""
    restarts: int = 0
    progressive: bool = False
    components: int = 0
    bits: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all 64 coefficients of every component have come, to the last bit."""
        return len(self.bits) == 64 * self.components and not any(self.bits.values())


def _walked(data: bytes) -> _Walked:
    found, parts, place = _Walked(), [], 0
    while (marker := _MARKER.search(data, place)) and marker[1][0] != _EOI:
        kind, stop = marker[1][0], marker.end()
        if kind not in _ALONE:
            stop += int.from_bytes(data[stop : stop + 2], "big")
        segment = data[marker.end() + 2 : stop]
        if kind in (0xC0, 0xC1, _PROGRESSIVE) and len(segment) > 5:
            found.progressive, found.components = kind == _PROGRESSIVE, segment[5]
        if kind == _SCAN:
            end = _AFTER_SCAN.search(data, stop)
            begin, stop = stop, end.start() if end else len(data)
            found.restarts = len(_RESTART.findall(data, begin, stop))
            _note_scan(found, segment)
        if kind not in _NOTES:
            parts.append(data[marker.start() : stop])
        place = stop
    found.body = b"".join(parts)
    return found


def _note_scan(found: _Walked, header: bytes) -> None:
    """Its components, first and last coefficient, and the bits that it leaves to later scans."""
    if len(header) < 4 or len(header) != 4 + 2 * header[0]:
        return
    first, last, approximation = header[-3:]
    for component in header[1:-3:2]:
        found.bits |= dict.fromkeys([(component, index) for index in range(first, last + 1)], approximation & 15)


def _decoded(data: bytes) -> bytes | None:
    """By Pillow, which keeps libjpeg's warnings off the terminal."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if not image.info.get("progressive"):  # later scans add details only, which a small picture does not show
                image.draft("L", (image.width // 8, image.height // 8))
            return image.tobytes()
    except (OSError, SyntaxError, ValueError):
        return None
