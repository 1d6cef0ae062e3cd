"""± and "no difference shown" in leaderboards and reports."""

from __future__ import annotations

import csv
import json
import re
import time
from html import unescape
from pathlib import Path

import pytest
from tests.reporting.conftest import fabricate_counts, fabricate_sweep

from perpixel.reporting.report import write_report
from perpixel.tracking import certainty
from perpixel.tracking.leaderboard import write_leaderboard
from perpixel.tracking.runs import load_sweep


def written(root: Path) -> tuple[str, str]:
    """Leaderboard and report; the report as text without tags."""
    write_leaderboard(root)
    page = write_report(root).read_text()
    return (root / "leaderboard.md").read_text(), unescape(re.sub(r"<[^>]+>", " ", page))


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate_sweep(tmp_path_factory.mktemp("counted") / "sweep", images=60)


def test_scores_carry_intervals_and_the_order_of_single_seeds_is_called_open(counted: Path) -> None:
    table, page = written(counted)
    best = next(run for run in load_sweep(counted).runs if "bilinear,loss-dice" in run.name.replace("_", ","))
    half = best.interval("val").half
    assert f"{best.score('val', 'mIoU'):.3f} ± {half:.3f}" in table
    assert f"± {half:.3f}" in page
    for text in (table, page):
        assert "±: half of the 95 % interval over val (60 images) and test (60 images)." in text
        assert "the order of these runs is not established" in text
        assert "paired permutation test" in text
        assert re.search(r"lower, p (≤ )?0\.0", text)
    rows = list(csv.DictReader((counted / "leaderboard.csv").open()))
    low, score, high = (float(rows[0][f"val mIoU{end}"]) for end in (" low", "", " high"))
    assert low < score < high
    assert rows[0]["against the first"] == ""
    assert rows[1]["against the first"].startswith("lower")


def test_equal_runs_show_no_difference(tmp_path: Path) -> None:
    root = fabricate_sweep(tmp_path / "sweep", images=30)
    for place, run in enumerate(load_sweep(root).runs[:4]):
        fabricate_counts(run.directory, 0.8, 100 + place, 30)
    table, page = written(root)
    assert "no difference shown" in table
    assert "no difference shown" in page
    assert "lower, p" not in table


def test_few_groups_have_no_interval_and_the_page_says_why(tmp_path: Path) -> None:
    table, page = written(fabricate_sweep(tmp_path / "sweep", images=40, groups=3))
    for text in (table, page):
        assert "On val: no interval: 3 sites, and it takes 6." in text
        assert "no test: 3 sites, and it takes 6" in text
        assert "lower, p" not in text
    assert "±" not in table


def test_seeds_are_a_second_level(tmp_path: Path) -> None:
    table, page = written(fabricate_sweep(tmp_path / "sweep", seeds=(0, 1, 2), images=60, groups=20))
    assert "not established" not in table
    for text in (table, page):
        assert "95 %, over seeds and the val split's 20 sites" in text
    over_seeds = table.partition("## Over seeds")[2]
    (first,) = (line for line in over_seeds.splitlines() if line.startswith("| bilinear | dice"))
    low, high = map(float, re.search(r"(0\.\d+) … (0\.\d+)", first).groups())
    mean = float(first.split("|")[4].split("±")[0])
    assert low < mean < high
    assert "lower, p" in over_seeds


def test_tests_are_kept_and_only_what_is_new_is_computed(counted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_leaderboard(counted)
    kept = json.loads((counted / "comparisons.json").read_text())
    assert len(kept) == 3
    calls = []
    compare = certainty.compare
    monkeypatch.setattr(certainty, "compare", lambda *given: calls.append(1) or compare(*given))
    write_leaderboard(counted)
    assert calls == []
    worst = load_sweep(counted).runs[0]
    fabricate_counts(worst.directory, 0.5, 50, 60)
    write_leaderboard(counted)
    assert calls == [1]
    assert len(json.loads((counted / "comparisons.json").read_text())) == 3
    (counted / "comparisons.json").write_text("{")
    write_leaderboard(counted)
    assert len(calls) == 4


def test_a_leaderboard_that_knows_its_tests_is_written_fast(counted: Path) -> None:
    write_leaderboard(counted)
    start = time.process_time()
    write_leaderboard(counted)
    assert time.process_time() - start < 1
