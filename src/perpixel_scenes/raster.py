"""From faces to samples: which face each sample of the image plane sees."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perpixel_scenes.camera import Grid, View
from perpixel_scenes.classes import Class
from perpixel_scenes.mesh import Face, Mesh
from perpixel_scenes.textures import SIZE, silhouette

Array = npt.NDArray[np.float64]

SKY = 0
"""Face index of samples that see no face; face i of the mesh is i + 1."""

NEAR = 0.25
"""Nothing nearer than this is painted, metres."""

_FRACTION_BITS = 4
_FAR_OFF = 1 << 14
"""Sample coordinates are held within this, where OpenCV's fixed point is exact."""


@dataclass(frozen=True)
class Painter:
    """Paints faces on a grid, each over those before it.

    Attributes:
        grid: the samples.
        view: the camera.
        mirrored: paint the world below the road's surface, as wet asphalt shows it.
    """

    grid: Grid
    view: View
    mirrored: bool = False

    def project(self, faces: list[Face]) -> list[Array | None]:
        """Corners of each face in samples (N, 2), cut at the near plane; None where nothing of it is on the grid."""
        points = np.array([point for face in faces for point in face.points], np.float64)
        if self.mirrored:
            points[:, 1] *= -1
        seen = (points - self.view.eye) @ self.view.turn
        ends = np.cumsum([len(face.points) for face in faces])
        placed = self.grid.place(np.maximum(seen, [-np.inf, -np.inf, NEAR]), self.view.focal)
        placed = np.clip(placed, -_FAR_OFF, _FAR_OFF)
        behind = seen[:, 2] < NEAR
        starts = np.concatenate([[0], ends[:-1]])
        gone = np.logical_and.reduceat(behind, starts)
        whole = ~np.logical_or.reduceat(behind, starts)
        least, most = np.minimum.reduceat(placed, starts), np.maximum.reduceat(placed, starts)
        gone |= whole & ((most < 0) | (least > np.array(self.grid.shape[::-1]))).any(1)
        bounds = zip(faces, starts.tolist(), ends.tolist(), gone.tolist(), whole.tolist(), strict=True)
        return [
            None if lost else placed[start:end] if complete else self._cut(face, seen[start:end])
            for face, start, end, lost, complete in bounds
        ]

    def _cut(self, face: Face, corners: Array) -> Array | None:
        """The part of a polygon or line in front of the near plane."""
        kept: list[Array] = []
        pairs = zip(corners, corners[1:] if face.line else np.roll(corners, -1, axis=0), strict=False)
        for start, end in pairs:
            if start[2] >= NEAR:
                kept.append(start)
            if (start[2] < NEAR) != (end[2] < NEAR):
                kept.append(start + (NEAR - start[2]) / (end[2] - start[2]) * (end - start))
        if face.line and corners[-1, 2] >= NEAR:
            kept.append(corners[-1])
        if len(kept) < 2:
            return None
        return np.clip(
            self.grid.place(np.maximum(kept, [-np.inf, -np.inf, NEAR]), self.view.focal), -_FAR_OFF, _FAR_OFF
        )

    def paint(self, mesh: Mesh) -> npt.NDArray[np.int32]:
        """Face index + 1 of every sample, ``SKY`` where there is none: (2H + 1, 2W + 1) int32."""
        canvas = np.full(self.grid.shape, SKY, np.int32)
        placed = self.project(mesh.faces)
        scale = 2 * self.view.focal * min(self.grid.height, self.grid.width)
        for index in mesh.order():
            face, corners = mesh.faces[index], placed[index]
            if corners is None:
                continue
            if self.mirrored and face.surface.label in (Class.ROAD, Class.SIDEWALK):
                continue  # the ground is the mirror
            if face.line:
                _line(canvas, corners, index + 1, face.line * scale / max(face.points[0][2], 1.0))
            elif face.cutout:
                _cutout(canvas, corners, index + 1, face.surface.tile)
            else:
                _polygon(canvas, _widened(corners) if face.surface.label == Class.POLE else corners, index + 1)
        return canvas


def _fixed(corners: Array) -> npt.NDArray[np.int32]:
    """OpenCV's fixed-point coordinates."""
    return np.rint(corners * (1 << _FRACTION_BITS)).astype(np.int32)


def _polygon(canvas: npt.NDArray[np.int32], corners: Array, value: int) -> None:
    cv2.fillPoly(canvas, [_fixed(corners)], value, cv2.LINE_8, _FRACTION_BITS)


def _widened(corners: Array) -> Array:
    """A distant pole at two samples' width, so that it stands in the mask wherever it stands in the image."""
    left, right = corners[:, 0].min(), corners[:, 0].max()
    if right - left >= 1:
        return corners
    middle = (left + right) / 2
    return np.stack([np.where(corners[:, 0] <= middle, middle - 0.5, middle + 0.5), corners[:, 1]], axis=1)


def _line(canvas: npt.NDArray[np.int32], corners: Array, value: int, width: float) -> None:
    """At least two samples wide, so that every pixel row or column it passes gets it."""
    thickness = int(np.clip(round(width), 2, 6))
    cv2.polylines(canvas, [_fixed(corners)], False, value, thickness, cv2.LINE_8, _FRACTION_BITS)


def _cutout(canvas: npt.NDArray[np.int32], corners: Array, value: int, tile: int) -> None:
    """Paint where the plant's silhouette is opaque; the card's corners run from the bottom left, anticlockwise."""
    if len(corners) != 4:
        return
    rows, columns = canvas.shape
    left, top = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, (columns, rows))
    if right - left < 1 or bottom - top < 1:
        return
    source = np.array([(0, SIZE), (SIZE, SIZE), (SIZE, 0)], np.float32)
    affine = cv2.getAffineTransform(source, (corners[:3] - (left, top)).astype(np.float32))
    opaque = cv2.warpAffine(silhouette(tile), affine, (int(right - left), int(bottom - top)), flags=cv2.INTER_LINEAR)
    canvas[top:bottom, left:right][opaque > 127] = value
