"""Colours of things, as linear light."""

from __future__ import annotations

from perpixel_scenes.mesh import Colour


def linear(code: str) -> Colour:
    """Linear light of a colour written as on the web (#rrggbb); gamma 2.2."""
    red, green, blue = (((int(code[i : i + 2], 16)) / 255) ** 2.2 for i in (1, 3, 5))
    return red, green, blue


def _all(*codes: str) -> tuple[Colour, ...]:
    return tuple(linear(code) for code in codes)


PLASTER = _all(
    "#d9c9a8", "#e6dccb", "#c9a47c", "#b9b3a6", "#d8b08c", "#a9b4b0", "#cfc6d0", "#c77f62", "#e2c98f", "#8f9aa3"
)
BRICK = _all("#9c5340", "#8a4a38", "#a86a4c", "#7a4a40", "#b58a6a")
CONCRETE = _all("#9a9a96", "#8b8f93", "#aaa59a", "#75797d")
ROOF = _all("#8a4030", "#5d5350", "#6e5a4a", "#4b5058", "#7d4a38")
ASPHALT = _all("#55565a", "#4b4c50", "#625f5c")
PAVEMENT = _all("#9a948c", "#8d8a86", "#a69a8a", "#7f8084")
KERB = linear("#a9a6a0")
GRASS = _all("#5c6a40", "#6a7048", "#50613c")
LEAVES = _all("#4f6236", "#435434", "#616f3e", "#3b5038", "#7a6f3a")
NEEDLES = _all("#2f4f36", "#3a5638")
BARK = linear("#5a4838")
METAL = _all("#5d6368", "#3d4246", "#7d8488", "#34453c")
WOOD = linear("#5e4a3a")
WIRE = linear("#1d1e20")
PAINT = _all(
    "#e8e8e6",
    "#c9ccce",
    "#8a8f94",
    "#3a3d42",
    "#17181b",
    "#9c1f22",
    "#1f3f7a",
    "#23506b",
    "#5f6b3a",
    "#b8702a",
    "#d8c690",
)
RUBBER = linear("#1a1a1b")
HUB = linear("#8c9094")
GLASS = linear("#1c2226")
TAIL = linear("#9a1414")
PLATE = linear("#e6e2cc")
SKIN = _all("#e0b090", "#c68e68", "#8a5a3c", "#5c3a28", "#f0c8a8")
HAIR = _all("#2a1f18", "#16130f", "#6a4a28", "#a88a58", "#8a8884")
COAT = _all(
    "#2b2f3a",
    "#7a2b2b",
    "#3a4a68",
    "#b89a5a",
    "#d8d4cc",
    "#4a5a3a",
    "#1a1a1c",
    "#c0502a",
    "#6a6a70",
    "#2a6a72",
    "#caa6b0",
)
TROUSERS = _all("#23283a", "#2a2a2c", "#5a5248", "#3a4660", "#8a8070", "#151619")
SIGN_RED, SIGN_BLUE, SIGN_YELLOW = linear("#c4161c"), linear("#1248a8"), linear("#f2c21a")
SIGN_WHITE, SIGN_BLACK, SIGN_GREEN = linear("#f2f2ee"), linear("#151515"), linear("#0f6b43")
NEON = _all("#ff3b6b", "#28c8ff", "#ffb028", "#48ff90", "#ff5a28", "#c878ff", "#fff0d0")
AWNING = _all("#8a2a2a", "#2a5a4a", "#d0b070", "#3a4a7a", "#c86a3a", "#e0dcd0")
SODIUM: Colour = (1.0, 0.62, 0.28)
LED: Colour = (0.92, 0.96, 1.0)
WARM: Colour = (1.0, 0.80, 0.52)
HEADLIGHT: Colour = (1.0, 0.94, 0.82)
