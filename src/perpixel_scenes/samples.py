"""What each sample of the image plane sees: face, distance, place in the world and on its texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perpixel_scenes.camera import Grid, View
from perpixel_scenes.mesh import Face, Material, Mesh, Planes

Field = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

HORIZON = 1e-3
"""Least inverse distance (1/metres) of a face."""


@dataclass(frozen=True)
class Samples:
    """All (2H + 1, 2W + 1) samples; flat views of them where a part is worked on.

    Attributes:
        face: index + 1 of the face, 0 for sky, (R, C) int64.
        near: inverse distance ahead, 1/m.
        u, v: place on the texture, in its repeats.
        ray: direction in the world (x, y, z), 1 long ahead, each (R, C).
        place: position in the world (x, y, z) in metres, each (R, C); of sky, far away.
        density: samples per metre of the face in the direction in which it is seen most obliquely.
    """

    face: npt.NDArray[np.int64]
    near: Field
    u: Field
    v: Field
    ray: tuple[Field, Field, Field]
    place: tuple[Field, Field, Field]
    density: Field


def resolve(canvas: npt.NDArray[np.int32], mesh: Mesh, planes: Planes, view: View, grid: Grid) -> Samples:
    """Intersect every sample's ray with the plane of the face it sees."""
    face = canvas.astype(np.int64)
    up, right = grid.axes(view.focal)
    forms, offset = _forms(mesh.faces, planes, view)

    def along(row: int) -> Field:
        a: Field
        a, b, c = (forms[3 * row + k].take(face) for k in range(3))
        a *= right[None]
        b *= up[:, None]
        a += b
        a += c
        return a

    near = np.maximum(along(0), HORIZON, dtype=np.float32)
    far = 1 / near
    turn = view.turn.astype(np.float32)
    x, y, z = (turn[k, 0] * right[None] + (turn[k, 1] * up[:, None] + turn[k, 2]) for k in range(3))
    ray = (x, y, z)
    eye = view.eye.astype(np.float32)
    place = (x * far + eye[0], y * far + eye[1], z * far + eye[2])
    scale = 2 * view.focal * min(grid.height, grid.width)
    density = offset.take(face) * near
    density *= near * np.float32(scale)
    u, v = along(1), along(2)
    u *= far
    v *= far
    return Samples(face, near, u, v, ray, place, density)


def _forms(faces: list[Face], planes: Planes, view: View) -> tuple[Field, Field]:
    """Per face (column 0 is sky), coefficients of (right, up, 1): of 1/distance, of u/distance, of v/distance.

    A plane n·p = c seen from the origin along ray r·t has 1/t = (n·r)/c, linear in the ray; so are u/t and v/t.
    """
    towards = planes.origin - view.eye
    offset = np.einsum("fk,fk->f", planes.normal, towards)
    offset = np.where(np.abs(offset) < 1e-4, -1e-4, offset)
    repeat_u, repeat_v, shift_u, shift_v = _texture_scales(faces)
    near = (planes.normal / offset[:, None]) @ view.turn
    forms = [near]
    for axis, repeat, shift in ((planes.u, repeat_u, shift_u), (planes.v, repeat_v, shift_v)):
        start = np.einsum("fk,fk->f", axis, towards)
        forms.append((axis @ view.turn) * repeat[:, None] + (shift - start * repeat)[:, None] * near)
    table = np.concatenate(forms, axis=1).T
    sky = np.zeros((9, 1))
    return np.concatenate([sky, table], axis=1).astype(np.float32), np.append(0, np.abs(offset)).astype(np.float32)


def _texture_scales(faces: list[Face]) -> tuple[Array, Array, Array, Array]:
    """Repeats per metre and shift of u and v; a plant's silhouette spans its card once, upside down."""
    repeat = np.array([1 / face.surface.scale for face in faces])
    repeat_u, repeat_v, shift_u, shift_v = repeat, repeat.copy(), np.zeros(len(faces)), np.zeros(len(faces))
    for index, face in enumerate(faces):
        if face.surface.material is Material.LEAVES:
            (left, bottom, _), _, (right, top, _), _ = face.points
            foot = face.frame[0]
            repeat_u[index], shift_u[index] = 1 / (right - left), (foot[0] - left) / (right - left)
            repeat_v[index], shift_v[index] = -1 / (top - bottom), 1 + (bottom - foot[1]) / (top - bottom)
    return repeat_u, repeat_v, shift_u, shift_v
