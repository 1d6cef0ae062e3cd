from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from perpixel.losses import Boundary, BoundaryCrossEntropy
from perpixel.losses.boundary import edge_distances, signed_distances

LABELS = np.kron(np.random.default_rng(0).integers(0, 3, (5, 6)), np.ones((4, 4), np.int64))


def test_signed_distances_are_the_papers() -> None:
    for index, ours in enumerate(signed_distances(LABELS, 4)):
        inside = index == LABELS
        if not inside.any():
            assert not ours.any()
            continue
        theirs = distance_transform_edt(~inside) * ~inside - (distance_transform_edt(inside) - 1) * inside
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_boundary_loss_is_the_papers_times_the_classes() -> None:
    logits, target = torch.randn(1, 3, 20, 24).double(), torch.from_numpy(LABELS)[None]
    expected = (logits.softmax(1)[0].numpy() * signed_distances(LABELS, 3)).mean() * 3
    np.testing.assert_allclose(Boundary()(logits, target), expected)


def test_ignored_pixels_are_no_edge_of_a_class() -> None:
    """One class in all of them that have a label: as without ignored pixels, there is no edge."""
    target = torch.ones(1, 6, 6, dtype=torch.int64)
    logits = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    assert Boundary()(logits, target) == 0
    target[0, 2, 2:4] = 255
    assert Boundary()(logits, target) == 0


def test_distances_inside_are_to_other_classes() -> None:
    labels = np.array([[0, 0, 0, -1, 1]])
    np.testing.assert_array_equal(signed_distances(labels, 2)[:, :, [0, 1, 2, 4]], [[[-3, -2, -1, 2]], [[4, 3, 2, -1]]])


def test_edges_to_ignored_pixels_are_none() -> None:
    labels = np.zeros((3, 4), np.int64)
    labels[:, 2:] = -1
    assert np.isinf(edge_distances(labels)).all()
    labels[:, 2:] = 1
    np.testing.assert_array_equal(edge_distances(labels), [[1, 0, 0, 1]] * 3)


def test_weight_falls_with_the_distance_to_an_edge() -> None:
    logits, target = torch.zeros(1, 2, 1, 5, requires_grad=True), torch.tensor([[[0, 0, 0, 1, 1]]])
    BoundaryCrossEntropy(extra=4.0, sigma=1.0)(logits, target).backward()
    slope = logits.grad[0, 0, 0].abs()
    torch.testing.assert_close(slope / slope[2], (1 + 4 * torch.tensor([2.0, 1, 0, 0, 1]).square().div(-2).exp()) / 5)
