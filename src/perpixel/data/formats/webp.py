"""What the chunks of a WebP say (RFC 9649)."""

from __future__ import annotations

from pathlib import Path


def is_lossy(path: Path) -> bool:
    """Whether pixels are coded as VP8, as in JPEG, rather than VP8L."""
    data, start = path.read_bytes(), 12
    while kind := data[start : start + 4]:
        if kind == b"VP8 ":
            return True
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        start += 8 + (16 if kind == b"ANMF" else size + size % 2)  # a frame of an animation holds chunks of its own
    return False
