"""Where a run errs, and its slices, as the page shows them."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

from tests.reporting.conftest import fabricate_counts, fabricate_run

from perpixel.reporting.classes import worst_confusions
from perpixel.reporting.report import write_report
from perpixel.tracking.runs import Run, load_run
from perpixel.uncertainty import read_counts, slices

NEAR = {"distance": ["1 px", "> 10 px (interior)"], "pixels": [100, 1000], "wrong": [40, 60]}
PARTS = {"size": ["< 100 px"], "truth": [50], "missed": [10], "predicted": [0], "invented": [0]}


def test_the_page_of_a_run_shows_where_it_errs_and_its_slices(tmp_path: Path) -> None:
    run = tmp_path / "run"
    fabricate_run(run, {"num": 0, "overrides": ["decoder=bilinear", "loss=ce"]}, 0.8, samples=0)
    fabricate_counts(run, 0.8, 0, images=12, groups=3)
    metrics = json.loads((run / "metrics.json").read_text())
    found = slices(read_counts(run / "metrics_images.npz")["val"])
    metrics["val"] |= {"errors_by_distance": NEAR, "components": PARTS, "slices": [one.plain() for one in found]}
    (run / "metrics.json").write_text(json.dumps(metrics))
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", write_report(run).read_text())).split())
    assert "1 px 40 % 40 %" in text
    assert "> 10 px (interior) 6.0 % 60 %" in text
    assert "< 100 px 50 10 20 % 0 0 –" in text
    assert re.search(r"group site \d 4 6 0\.\d\d\d", text)
    metrics["val"]["components"].pop("truth")
    metrics["val"]["slices"].append("damaged")
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert load_run(run).error_places == {}
    assert load_run(run).slices["val"] == tuple(found)


def test_confused_pairs_come_by_their_share_of_all_errors() -> None:
    run = Run(Path(), "x", classes=("a", "b"), confusions={"val": ((900, 90), (10, 10))})
    first, second = worst_confusions(run, "val")
    assert (first.truth, first.prediction, first.of_errors) == ("a", "b", 0.9)
    assert (second.share, second.of_errors) == (0.5, 0.1)
