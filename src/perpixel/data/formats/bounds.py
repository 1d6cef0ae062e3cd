"""How large a picture may be, told from headers before anything is decoded."""

MAX_PIXELS = 178_956_970
"""Pixels above which an image, or the window of one that can be read by window, is refused from its header: a small
file can decode to gigabytes. (It is Pillow's own default bound, which any library in the process may have switched
off.)"""

MAX_BYTES = 1 << 32
"""The same of a decoded TIFF's bytes, whose bands and depth no bound on pixels counts: a Sentinel-2 scene with all its
13 bands of 16 bits, 3 GB, may still be read whole."""

CUT = "or cut it into tiles"
SET_TILE = f"set data.source.tile=[1024,1024] to have it read by window, {CUT}"
TILES = f"save it as a TIFF with tiles or strips and set data.source.tile, {CUT}"


def check_pixels(height: int, width: int, what: str, mend: str) -> None:
    """Refuse more pixels than an image may have, before they are decoded or drawn: a small file can ask for terabytes.

    Raises:
        ValueError: says how large ``what`` is, the bound and the mend.
    """
    if too_many(height, width):
        raise ValueError(f"{what} is {height}×{width} (H×W), more than {MAX_PIXELS:,} pixels: {mend}.")


def too_many(height: int, width: int) -> bool:
    """Whether an image may not have so many pixels."""
    return height * width > MAX_PIXELS


def check_bytes(size: int, what: str, mend: str) -> None:
    """Refuse to decode to more bytes than a TIFF may.

    Raises:
        ValueError: says what ``what`` would take, the bound and the mend.
    """
    if size > MAX_BYTES:
        raise ValueError(f"{what} takes {size:,} bytes decoded, more than {MAX_BYTES:,}: {mend}.")
