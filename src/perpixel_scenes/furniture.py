"""People, poles, wires, signs and plants: flat cards that stand across the street."""

from __future__ import annotations

import numpy as np

from perpixel_scenes import palette
from perpixel_scenes.classes import Class
from perpixel_scenes.mesh import Colour, Lamp, Material, Mesh, Point, Surface
from perpixel_scenes.textures import BUSHES, CANOPIES, CONIFERS, Tile

Shape = list[tuple[float, float]]


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _polygon(corners: int, radius: float, x: float = 0.0, y: float = 0.0, start: float = 0.0) -> Shape:
    turns = np.linspace(0, 2 * np.pi, corners, endpoint=False) + start
    return [(x + radius * float(np.sin(turn)), y + radius * float(np.cos(turn))) for turn in turns]


def _box(left: float, right: float, bottom: float, top: float) -> Shape:
    return [(left, bottom), (right, bottom), (right, top), (left, top)]


def add_person(mesh: Mesh, rng: np.random.Generator, x: float, z: float, ground: float) -> None:
    """A walker: legs in stride, coat, arms, head and hair, sometimes a bag."""
    height = float(rng.normal(1.70, 0.09)) if rng.random() > 0.12 else float(rng.uniform(1.1, 1.35))
    foot, stride, swing = (x, ground, z), float(rng.uniform(-0.11, 0.11)), float(rng.uniform(-0.05, 0.05))
    coat, trousers, skin, hair = (_pick(rng, c) for c in (palette.COAT, palette.TROUSERS, palette.SKIN, palette.HAIR))
    hem = (0.47, 0.47, 0.34, 0.28)[int(rng.integers(4))]
    sleeve = (coat[0] * 0.8, coat[1] * 0.8, coat[2] * 0.8)
    parts: list[tuple[Colour, Shape]] = [
        (trousers, [(-0.075, 0.5), (0.012, 0.5), (stride + 0.028, 0.02), (stride - 0.032, 0.02)]),
        (trousers, [(-0.012, 0.5), (0.075, 0.5), (0.032 - stride, 0.0), (-0.028 - stride, 0.0)]),
        (palette.RUBBER, _box(stride - 0.04, stride + 0.035, 0.0, 0.035)),
        (palette.RUBBER, _box(-stride - 0.035, -stride + 0.04, 0.0, 0.03)),
        (coat, [(-0.105, 0.79), (-0.05, 0.845), (0.05, 0.845), (0.105, 0.79), (0.088, hem), (-0.088, hem)]),
        (sleeve, [(-0.108, 0.79), (-0.07, 0.80), (-0.085 + swing, 0.47), (-0.13 + swing, 0.48)]),
        (sleeve, [(0.108, 0.79), (0.07, 0.80), (0.085 - swing, 0.47), (0.13 - swing, 0.48)]),
        (skin, _polygon(8, 0.062, 0.0, 0.915)),
        (
            hair,
            [(-0.066, 0.90), (-0.06, 0.965), (0.0, 0.993), (0.06, 0.965), (0.066, 0.90), (0.03, 0.945), (-0.03, 0.945)],
        ),
    ]
    if rng.random() < 0.35:
        parts.append((_pick(rng, palette.COAT), _box(0.09, 0.17, 0.36, 0.5)))
    mesh.begin(z)
    for albedo, shape in parts:
        surface = Surface(Class.PERSON, albedo, tile=Tile.CLOTH, scale=0.8, bulge=0.16 * height)
        mesh.card(surface, foot, shape, height)
    mesh.shadows.append([(x + s * 0.2, h, z) for s in (-1, 1) for h in (0.0, 0.82 * height)])
    mesh.shadows.append([(x + 0.22 * s, 0.0, z + 0.18 * t) for s, t in ((-1, 0), (0, 1), (1, 0), (0, -1))])


def _mast(mesh: Mesh, albedo: Colour, foot: Point, width: float, height: float, lean: float = 0.0) -> None:
    """A round pole, a little thicker at its foot."""
    surface = Surface(Class.POLE, albedo, bulge=0.62 * width)
    half = width / 2
    mesh.card(
        surface, foot, [(-1.15 * half, 0), (1.15 * half, 0), (lean + 0.85 * half, height), (lean - 0.85 * half, height)]
    )
    x, _, z = foot
    mesh.shadows.append([(x + s * half, h, z) for s in (-1, 1) for h in (0.0, height)])


def add_street_lamp(mesh: Mesh, rng: np.random.Generator, x: float, z: float, towards: int, light: Colour) -> None:
    """A mast with an arm over the road, or a lantern on a short post."""
    metal, foot = palette.METAL[1], (x, 0.1, z)
    mesh.begin(z)
    if light == palette.WARM:
        _lantern(mesh, foot, light)
        return
    _mast(mesh, metal, foot, 0.15, 6.6)
    mesh.card(Surface(Class.POLE, metal, bulge=0.2), foot, _box(-0.13, 0.13, 0, 0.9))
    reach = towards * float(rng.uniform(1.3, 2.0))
    arm = [(0.0, 6.45), (0.0, 6.6), (reach, 6.95), (reach, 6.86)]
    mesh.card(Surface(Class.POLE, metal), foot, arm)
    head = [(reach - 0.32, 6.82), (reach + 0.32, 6.82), (reach + 0.28, 6.98), (reach - 0.28, 6.98)]
    mesh.card(Surface(Class.POLE, metal), foot, head)
    glow = (16 * light[0], 16 * light[1], 16 * light[2])
    mesh.card(Surface(Class.POLE, (0.6, 0.6, 0.6), emits=glow), foot, _box(reach - 0.28, reach + 0.28, 6.76, 6.87))
    mesh.lamps.append(Lamp((x + reach, 6.8, z), light))


def _lantern(mesh: Mesh, foot: Point, light: Colour) -> None:
    metal = palette.METAL[3]
    _mast(mesh, metal, foot, 0.13, 3.7)
    mesh.card(Surface(Class.POLE, metal, bulge=0.2), foot, _box(-0.14, 0.14, 0, 0.5))
    glow = (9 * light[0], 9 * light[1], 9 * light[2])
    mesh.card(
        Surface(Class.POLE, (0.7, 0.68, 0.6), emits=glow),
        foot,
        [(-0.12, 3.7), (0.12, 3.7), (0.22, 4.15), (-0.22, 4.15)],
    )
    mesh.card(Surface(Class.POLE, metal), foot, [(-0.26, 4.15), (0.26, 4.15), (0.06, 4.4), (-0.06, 4.4)])
    mesh.lamps.append(Lamp((foot[0], 4.0, foot[2]), light))


def add_utility_pole(mesh: Mesh, rng: np.random.Generator, x: float, z: float) -> list[Point]:
    """A wooden pole with a cross-arm; the points its wires hang from come back."""
    foot, height, lean = (x, 0.1, z), float(rng.uniform(8.0, 9.2)), float(rng.normal(0, 0.12))
    mesh.begin(z)
    _mast(mesh, palette.WOOD, foot, 0.26, height, lean)
    arm = height - 0.6
    mesh.card(Surface(Class.POLE, palette.WOOD), foot, _box(lean - 1.0, lean + 1.0, arm - 0.07, arm + 0.07))
    for side in (-0.92, 0.92):
        mesh.card(
            Surface(Class.POLE, palette.METAL[2]), foot, _box(lean + side - 0.05, lean + side + 0.05, arm, arm + 0.22)
        )
    if rng.random() < 0.4:
        tank = Surface(Class.POLE, palette.METAL[2], bulge=0.28)
        mesh.card(tank, foot, _box(lean + 0.05, lean + 0.5, arm - 1.6, arm - 0.7))
    top = (x + lean, 0.1 + height, z)
    return [(x + lean + side, 0.32 + arm, z) for side in (-0.92, 0.92)] + [top, (x + lean, arm - 1.2, z)]


def add_wire(mesh: Mesh, start: Point, end: Point, sag: float, width: float = 0.025) -> None:
    """A hanging wire: a parabola, in pieces so that each is painted at its own distance."""
    shares = np.linspace(0, 1, 13)
    line = [
        (
            start[0] + t * (end[0] - start[0]),
            start[1] + t * (end[1] - start[1]) - 4 * sag * t * (1 - t),
            start[2] + t * (end[2] - start[2]),
        )
        for t in shares.tolist()
    ]
    surface = Surface(Class.WIRE, palette.WIRE)
    for first in range(0, 12, 4):
        piece = line[first : first + 5]
        mesh.begin(max(point[2] for point in piece))
        mesh.strand(surface, piece, width)


def add_traffic_sign(mesh: Mesh, rng: np.random.Generator, x: float, z: float) -> None:
    """A post with one or two plates: prohibition, warning, mandatory, stop, priority, or a direction board."""
    foot, height = (x, 0.1, z), float(rng.uniform(2.3, 2.8))
    mesh.begin(z)
    _mast(mesh, palette.METAL[2], foot, 0.08, height + 0.2)
    for level in range(1 if rng.random() < 0.75 else 2):
        plate = _PLATES[int(rng.integers(len(_PLATES)))]
        for albedo, shape in plate:
            raised = [(right, up + height - 0.85 * level) for right, up in shape]
            reflex = (0.4 * albedo[0], 0.4 * albedo[1], 0.4 * albedo[2])
            mesh.card(Surface(Class.SIGN, albedo, emits=reflex), (x, 0.1, z - 0.05), raised, 1.0)
    mesh.shadows.append([(x + a, height + b, z) for a, b in _polygon(6, 0.4)])


_RED, _BLUE, _WHITE, _BLACK = palette.SIGN_RED, palette.SIGN_BLUE, palette.SIGN_WHITE, palette.SIGN_BLACK
_ARROW: Shape = [(-0.07, -0.24), (0.07, -0.24), (0.07, 0.06), (0.18, 0.06), (0, 0.26), (-0.18, 0.06), (-0.07, 0.06)]
_LETTER: Shape = [(-0.16, -0.28), (-0.04, -0.28), (-0.04, -0.04), (0.18, -0.04), (0.18, 0.28), (-0.16, 0.28)]
_PLATES: tuple[list[tuple[Colour, Shape]], ...] = (
    [(_RED, _polygon(14, 0.40)), (_WHITE, _polygon(14, 0.29)), (_BLACK, _box(-0.13, 0.13, -0.12, 0.12))],
    [(_RED, _polygon(14, 0.40)), (_WHITE, _box(-0.28, 0.28, -0.08, 0.08))],
    [(_RED, _polygon(3, 0.52)), (_WHITE, _polygon(3, 0.32)), (_BLACK, _box(-0.04, 0.04, -0.12, 0.12))],
    [(_BLUE, _polygon(14, 0.40)), (_WHITE, _ARROW)],
    [(_RED, _polygon(8, 0.43, start=np.pi / 8)), (_WHITE, _box(-0.28, 0.28, -0.09, 0.09))],
    [(_WHITE, _polygon(4, 0.50)), (palette.SIGN_YELLOW, _polygon(4, 0.38))],
    [(_BLUE, _box(-0.36, 0.36, -0.4, 0.4)), (_WHITE, _LETTER)],
    [(palette.SIGN_GREEN, _box(-0.8, 0.8, -0.3, 0.3)), (_WHITE, _box(-0.6, 0.4, 0.04, 0.15)),
     (_WHITE, _box(-0.6, 0.1, -0.16, -0.05))],
)  # fmt: skip


def add_shop_sign(mesh: Mesh, rng: np.random.Generator, wall: float, z: float, out: int) -> None:
    """A sign that stands out from a wall, lit at night; ``out`` points from the wall to the street."""
    neon, board = _pick(rng, palette.NEON), _pick(rng, palette.COAT)
    width, height, base = float(rng.uniform(0.7, 1.2)), float(rng.uniform(0.8, 2.8)), float(rng.uniform(3.2, 4.2))
    left, right = sorted((0.15 * out, (0.15 + width) * out))
    foot = (wall, 0.1, z)
    mesh.begin(z)
    mesh.card(
        Surface(Class.SIGN, board, emits=(0.1 * neon[0], 0.1 * neon[1], 0.1 * neon[2])),
        foot,
        _box(left, right, base, base + height),
    )
    rows = max(int(height / 0.45), 1)
    for row in range(rows):
        low = base + (row + 0.22) * height / rows
        inset = 0.12 + 0.15 * float(rng.random())
        text = _box(left + inset * width, right - inset * width, low, low + 0.55 * height / rows)
        glow = (3.5 * neon[0], 3.5 * neon[1], 3.5 * neon[2])
        mesh.card(Surface(Class.SIGN, neon, emits=glow), foot, text)


def add_bollards(mesh: Mesh, x: float, start: float, count: int) -> None:
    """A row of knee-high posts along the kerb."""
    for number in range(count):
        z = start + 1.8 * number
        mesh.begin(z)
        _mast(mesh, palette.METAL[1], (x, 0.1, z), 0.14, 0.9)


def _card_plant(mesh: Mesh, tile: int, albedo: Colour, foot: Point, width: float, height: float) -> None:
    surface = Surface(Class.VEGETATION, albedo, Material.LEAVES, tile=tile, bulge=0.75 * width)
    mesh.card(surface, foot, _box(-width / 2, width / 2, 0, height), cutout=True)


def add_tree(mesh: Mesh, rng: np.random.Generator, x: float, z: float, size: float = 1.0) -> None:
    """A trunk that forks into two or three crowns, or a conifer."""
    mesh.begin(z)
    if rng.random() < 0.15:
        _conifer(mesh, rng, x, z, size)
        return
    trunk, spread = float(rng.uniform(2.0, 3.0)) * size, float(rng.uniform(4.0, 6.2)) * size
    bark = Surface(Class.VEGETATION, palette.BARK, tile=Tile.LEAVES, scale=1.5, bulge=0.22 * size)
    mesh.card(bark, (x, 0.05, z), [(-0.2, 0), (0.2, 0), (0.12, trunk + 1.0), (-0.12, trunk + 1.0)], 1.0)
    for side in (-1, 1):
        fork = [
            (0.0, trunk - 0.4),
            (0.1 * side, trunk - 0.2),
            (side * 0.25 * spread, trunk + 1.6),
            (side * 0.21 * spread, trunk + 1.6),
        ]
        mesh.card(bark, (x, 0.05, z), fork)
    albedo = _pick(rng, palette.LEAVES)
    for _ in range(int(rng.integers(1, 4))):
        tile, width = int(Tile.CANOPY + rng.integers(CANOPIES)), spread * float(rng.uniform(0.7, 1.0))
        foot = (x + float(rng.normal(0, 0.13)) * spread, trunk - 0.5 + float(rng.uniform(0, 0.9)), z)
        _card_plant(mesh, tile, albedo, foot, width, width * float(rng.uniform(0.85, 1.1)))
    middle = trunk + 0.42 * spread
    crown = [(x + 0.4 * spread * a, middle + 0.35 * spread * b, z + 0.4 * spread * c) for a, b, c in _SPHERE]
    mesh.shadows.extend([crown, [(x + s, h, z) for s in (-0.15, 0.15) for h in (0.0, trunk)]])


_SPHERE = [
    (-1, 0, 0),
    (1, 0, 0),
    (0, 0, 1),
    (0, 0, -1),
    (0, 1, 0),
    (0, -1, 0),
    (0.7, 0, 0.7),
    (-0.7, 0, -0.7),
    (0.7, 0, -0.7),
    (-0.7, 0, 0.7),
]


def _conifer(mesh: Mesh, rng: np.random.Generator, x: float, z: float, size: float) -> None:
    height = float(rng.uniform(6, 10)) * size
    tile = int(Tile.CANOPY + CANOPIES + rng.integers(CONIFERS))
    _card_plant(mesh, tile, _pick(rng, palette.NEEDLES), (x, 0.0, z), 0.5 * height, height)
    mesh.shadows.append(
        [(x - 0.2 * height, 1.0, z), (x + 0.2 * height, 1.0, z), (x, height, z), (x, 1.0, z + 0.2 * height)]
    )


def add_bush(mesh: Mesh, rng: np.random.Generator, x: float, z: float, height: float) -> None:
    """A bush or a piece of hedge that stands on the ground."""
    mesh.begin(z)
    tile = int(Tile.CANOPY + CANOPIES + CONIFERS + rng.integers(BUSHES))
    width = height * float(rng.uniform(1.2, 1.7))
    _card_plant(mesh, tile, _pick(rng, palette.LEAVES), (x, -0.06 * height, z), width, 1.1 * height)
    mesh.shadows.append([(x + 0.4 * width * a, 0.3 * height * (1 + b), z + 0.3 * width * c) for a, b, c in _SPHERE])
