"""Edges, thin structures and small objects against SciPy, on masks that hypothesis draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from perpixel.labels import LabelSpace
from perpixel.metrics import SpatialMetrics
from perpixel.metrics.edges import edge_counts, inner_edge, pixels_of_diagonal
from perpixel.metrics.structures import small_object_counts, thin_counts, thin_pixels

SPACE = LabelSpace(("a", "b", "c"), ((0, 0, 0),) * 3)
SCORES = ("BoundaryIoU", "BoundaryF", "ThinRecall", "SmallObjectRecall")


def masks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = np.kron(rng.integers(0, 3, (6, 7)), np.ones((5, 4), np.int64))
    prediction = np.roll(target, tuple(rng.integers(-2, 3, 2)), (0, 1))
    target[rng.random(target.shape) < 0.05] = 255
    return prediction, target


def scipy_edge(mask: np.ndarray, band: int) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=band, border_value=0)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), band=st.integers(1, 4), tolerance=st.sampled_from([1.0, 1.4143, 2.0, 3.0]))
def test_edge_counts_are_scipys(seed: int, band: int, tolerance: float) -> None:
    prediction, target = masks(seed)
    ours = np.stack(edge_counts(prediction, target, 3, band, tolerance))
    labelled = target != 255
    for index in range(3):
        truth, guess = (target == index) & labelled, (prediction == index) & labelled
        bands, lines = [scipy_edge(m, band) for m in (truth, guess)], [scipy_edge(m, 1) for m in (truth, guess)]
        near = [
            ndimage.distance_transform_edt(~line) <= tolerance + 1e-3 if line.any() else np.zeros_like(line)
            for line in lines
        ]
        expected = [
            (bands[0] & bands[1]).sum(),
            (bands[0] | bands[1]).sum(),
            (lines[0] & near[1]).sum(),
            lines[0].sum(),
            (lines[1] & near[0]).sum(),
            lines[1].sum(),
        ]
        assert ours[:, index].tolist() == expected


def test_the_images_border_is_an_edge() -> None:
    assert inner_edge(np.zeros((5, 5), np.uint8), 1, 1).sum() == 16


def test_a_contour_anywhere_in_a_void_rim_is_met_and_one_outside_is_not() -> None:
    """Void as PASCAL VOC draws it: around every object, where nobody can say whose a pixel is."""
    target = np.zeros((40, 40), np.int64)
    target[10:30, 10:30] = 255
    target[13:27, 13:27] = 1
    counts = []
    for grown in (0, 1, 3, 7):
        prediction = np.zeros_like(target)
        prediction[13 - grown : 27 + grown, 13 - grown : 27 + grown] = 1
        counts.append(edge_counts(prediction, target, 2, 2, 1.0))
    for met in counts[:3]:
        assert (met.common == met.either).all()
        assert (met.found == met.truth).all()
        assert met.truth.min() > 0
    assert (counts[3].common < counts[3].either).all()


def thin(mask: np.ndarray, width: int) -> np.ndarray:
    return thin_pixels(np.where(mask, 0, 255), 1, width)


@pytest.mark.parametrize("width", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("turn", [False, True])
def test_stripes_narrower_than_the_width_are_thin(width: int, turn: bool) -> None:
    for stripe, is_thin in ((width - 1, True), (width, False)):
        mask = np.zeros((40, 30), bool)
        mask[10 : 10 + stripe] = True
        mask = mask.T if turn else mask
        np.testing.assert_array_equal(thin(mask, width), mask & is_thin)


def test_a_wire_on_a_block_is_thin_and_the_block_with_its_corners_is_not() -> None:
    mask = np.zeros((60, 60), bool)
    mask[5:25, 5:25] = True
    mask[14:16, 25:55] = True
    found = thin(mask, 6)
    assert not found[5:25, 5:25].any()
    assert found[14:16, 28:55].all()


def test_a_diagonal_wire_is_thin_and_a_diagonal_bar_is_not() -> None:
    rows, columns = np.mgrid[:80, :80]
    across = np.abs(rows - columns) / np.sqrt(2)
    assert thin(across <= 1.5, 6)[20:60, 20:60].sum() == (across <= 1.5)[20:60, 20:60].sum()
    assert not thin(across <= 5, 6)[20:60, 20:60].any()


def scipy_thin(mask: np.ndarray, width: int) -> np.ndarray:
    """By SciPy's distance transforms, class by class."""
    frame = 2 * width
    doubled = np.pad(np.kron(mask, np.ones((2, 2), bool)), frame, mode="edge")
    if doubled.all():
        return np.zeros_like(mask)
    wide = ndimage.distance_transform_edt(doubled) >= width - 1e-6
    if not wide.any():
        return mask
    reached = ndimage.distance_transform_edt(~wide) <= np.sqrt(2) * width + 1e-6
    blocks = reached[frame:-frame, frame:-frame].reshape(mask.shape[0], 2, mask.shape[1], 2)
    return mask & ~blocks.any((1, 3))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), width=st.integers(2, 7))
def test_thin_pixels_are_scipys(seed: int, width: int) -> None:
    prediction, target = masks(seed)
    expected = [scipy_thin(target == index, width) for index in range(3)]
    np.testing.assert_array_equal(thin_pixels(target, 3, width), np.logical_or.reduce(expected))
    counted = thin_counts(prediction, target, 3, width)
    for index, each in enumerate(expected):
        assert counted[:, index].tolist() == [(each & (prediction == index)).sum(), each.sum()]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_small_objects_are_scipys_components(seed: int) -> None:
    prediction, target = masks(seed)
    ours = small_object_counts(prediction, target, 3, 30)
    for index in range(3):
        objects, number = ndimage.label(target == index, np.ones((3, 3)))
        small = [objects == i for i in range(1, number + 1) if (objects == i).sum() < 30]
        found = sum((prediction[each] == index).mean() >= 0.5 for each in small)
        assert ours[:, index].tolist() == [found, len(small)]


def test_a_perfect_prediction_scores_one_and_absent_classes_nan() -> None:
    metric = SpatialMetrics(SPACE, thin_width=3, small_area=50)
    target = torch.zeros(2, 40, 50, dtype=torch.int64)
    target[:, 5:9, 5:9], target[:, 30, :] = 1, 1
    metric.update(target, target)
    values = metric.compute()
    for score in SCORES:
        assert values[f"m{score}"] == 1
        assert values[f"{score}/b"] == 1
        assert values[f"{score}/c"].isnan()
        assert metric.details["left_out"][f"m{score}"][-1] == "c"
    assert metric.details["left_out"]["mBoundaryIoU"] == ["c"]
    assert metric.details["left_out"]["mSmallObjectRecall"] == ["a", "c"]


def test_ignored_pixels_do_not_count() -> None:
    prediction, target = (torch.from_numpy(mask)[None] for mask in masks(1))
    one, other = SpatialMetrics(SPACE), SpatialMetrics(SPACE)
    one.update(prediction, target)
    other.update(torch.where(target == 255, (prediction + 1) % 3, prediction), target)
    for state in ("edges", "thin", "small"):
        assert torch.equal(getattr(one, state), getattr(other, state))


def test_images_add_up() -> None:
    pairs = [tuple(torch.from_numpy(mask)[None] for mask in masks(seed)) for seed in range(3)]
    whole, parts = SpatialMetrics(SPACE), [SpatialMetrics(SPACE) for _ in pairs]
    whole.update(torch.cat([p for p, _ in pairs]), torch.cat([t for _, t in pairs]))
    for part, pair in zip(parts, pairs, strict=True):
        part.update(*pair)
    assert torch.equal(whole.edges, sum(part.edges for part in parts))


def test_share_of_the_diagonal() -> None:
    assert pixels_of_diagonal(0.02, 300, 400) == 10
    assert pixels_of_diagonal(0.0001, 3, 4) == 1


def oracle(pairs: list[tuple[np.ndarray, np.ndarray]], index: int) -> dict[str, float]:
    """Every score of one class over a data set, by SciPy and the formulas of the papers; NaN where it is 0/0."""
    total = np.zeros(10)
    for prediction, target in pairs:
        labelled = target != 255
        truth, guess = (target == index) & labelled, (prediction == index) & labelled
        diagonal = np.hypot(*target.shape)
        band, reach = max(1, round(0.02 * diagonal)), max(1, round(0.0075 * diagonal))
        bands, lines = [[scipy_edge(m, width) for m in (truth, guess)] for width in (band, 1)]
        far = [ndimage.distance_transform_edt(~line) if line.any() else np.full(line.shape, np.inf) for line in lines]
        thin = scipy_thin(target == index, 5)
        objects, number = ndimage.label(target == index, np.ones((3, 3)))
        small = [objects == i for i in range(1, number + 1) if (objects == i).sum() < 30]
        total += [
            (bands[0] & bands[1]).sum(),
            (bands[0] | bands[1]).sum(),
            (lines[0] & (far[1] <= reach)).sum(),
            lines[0].sum(),
            (lines[1] & (far[0] <= reach)).sum(),
            lines[1].sum(),
            (thin & guess).sum(),
            thin.sum(),
            sum(guess[each].mean() >= 0.5 for each in small),
            len(small),
        ]
    with np.errstate(invalid="ignore"):
        iou, recall, precision, thin, small = total[::2] / total[1::2]
    if np.isnan(recall) and np.isnan(precision):
        f = np.nan
    else:
        p, r = np.nan_to_num(precision), np.nan_to_num(recall)
        f = 2 * p * r / (p + r) if p + r else 0.0
    return dict(zip(SCORES, (iou, f, thin, small), strict=True))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), classes=st.sampled_from([2, 3, 4]))
def test_scores_over_images_of_different_sizes_are_the_oracles(seed: int, classes: int) -> None:
    """Ignored pixels, classes that do not occur (4), the binary case (2), and a last image without any label."""
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(4):
        target = np.kron(rng.integers(0, min(classes, 3), rng.integers(3, 8, 2)), np.ones((5, 4), np.int64))
        prediction = np.roll(target, tuple(rng.integers(-2, 3, 2)), (0, 1))
        target[rng.random(target.shape) < 0.03] = 255
        pairs.append((prediction, np.full_like(target, 255) if number == 3 else target))
    space = LabelSpace(tuple("abcd"[:classes]), ((0, 0, 0),) * classes)
    metric = SpatialMetrics(space, small_area=30)
    for pair in pairs:
        metric.update(*(torch.from_numpy(mask)[None] for mask in pair))
    ours = {name: float(value) for name, value in metric.compute().items()}
    expected = [oracle(pairs, index) for index in range(classes)]
    for score in SCORES:
        values = [found[score] for found in expected]
        for name, value in zip(space.names, values, strict=True):
            assert ours[f"{score}/{name}"] == pytest.approx(value, nan_ok=True)
        present = [value for value in values if not np.isnan(value)]
        assert ours[f"m{score}"] == pytest.approx(np.mean(present) if present else np.nan, nan_ok=True)
        assert metric.details["left_out"][f"m{score}"] == [
            name for name, value in zip(space.names, values, strict=True) if np.isnan(value)
        ]


def test_turning_and_mirroring_an_image_changes_nothing() -> None:
    prediction, target = masks(3)
    counts = []
    for turn in (np.asarray, np.fliplr, np.flipud, np.transpose):
        metric = SpatialMetrics(SPACE, small_area=30)
        metric.update(*(torch.from_numpy(np.ascontiguousarray(turn(mask)))[None] for mask in (prediction, target)))
        counts.append(metric.compute())
    assert all(
        torch.equal(counts[0][n], other[n]) for other in counts[1:] for n in counts[0] if not counts[0][n].isnan()
    )


def test_without_a_label_nothing_is_scored() -> None:
    metric = SpatialMetrics(SPACE)
    metric.update(torch.zeros(1, 9, 9, dtype=torch.uint8), torch.full((1, 9, 9), 255))
    assert all(value.isnan() for value in metric.compute().values())


@pytest.mark.parametrize("argument", ["thin_width", "small_area"])
def test_senseless_widths_are_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}=1: give 2 or more"):
        SpatialMetrics(SPACE, **{argument: 1})


def test_more_classes_than_a_byte_holds() -> None:
    names = tuple(f"c{index}" for index in range(300))
    metric = SpatialMetrics(LabelSpace(names, ((0, 0, 0),) * 300, ignore_index=-100))
    target = torch.full((1, 30, 30), 299)
    target[:, :, 20:], target[:, :5] = 43, -100  # 299 and 43 are the same byte
    metric.update(target.clamp_min(0), target)
    values = metric.compute()
    assert values["BoundaryIoU/c299"] == values["BoundaryIoU/c43"] == values["mBoundaryF"] == 1
    assert len(metric.details["left_out"]["mBoundaryIoU"]) == 298
