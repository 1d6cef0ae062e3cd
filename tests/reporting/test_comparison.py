"""The page over any runs: effects that are there are found, what is not shown is said, and mistakes are named."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from tests.commands import WarmShell
from tests.reporting.conftest import fabricate_counts, fabricate_failure, fabricate_run

from perpixel.reporting.cells import Cells, front, level
from perpixel.tracking.runs import Run
from perpixel.workflows.report import compare_runs, find_runs

LOSS = {"ce": 0.0, "dice": 0.06}
DECODER = {"transposed": 0.0, "bilinear": 0.0}
TOGETHER = {("bilinear", "dice"): 0.05}


def fabricate_runs(root: Path, seeds: int, images: int = 40) -> Path:
    """A grid of decoder × loss × lr × seed in two sweeps' folders, without ``sweep.json``, and a failed run."""
    number = 0
    for lr in ("0.001", "0.002"):
        for decoder, d in DECODER.items():
            for loss, more in LOSS.items():
                for seed in range(seeds):
                    overrides = [f"decoder={decoder}", f"loss={loss}", f"optimizer.lr={lr}", f"seed={seed}"]
                    run = root / f"lr{lr}" / f"{number}_run"
                    fabricate_run(run, {"num": number, "overrides": overrides}, 0.8, samples=0)
                    fabricate_counts(run, 0.7 + d + more + TOGETHER.get((decoder, loss), 0.0), number, images)
                    number += 1
    fabricate_failure(root / "failed", {"num": 99, "overrides": ["decoder=bilinear", "loss=ce"]})
    return root


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate_runs(tmp_path_factory.mktemp("runs"), seeds=3)


def finished(root: Path) -> list[Run]:
    return [run for run in find_runs([root]) if run.scores]


def test_effects_and_interactions_are_those_that_were_put_in(runs: Path) -> None:
    cells = Cells(finished(runs), ["decoder", "loss"])
    assert cells.others == ("optimizer.lr",)
    assert len(cells.cells) == 8
    by_name = {one.name: one for one in cells.effects()}
    loss, decoder = by_name["loss: ce → dice"], by_name["decoder: transposed → bilinear"]
    assert loss.shown
    assert loss.contrast.over_seeds
    assert loss.cells == 4
    rows = {row.levels: row.val.value for row in cells.rows()}
    over_decoders = [rows[one, "dice"] - rows[one, "ce"] for one in DECODER]
    assert loss.contrast.value == pytest.approx(sum(over_decoders) / 2)
    assert loss.contrast.low < loss.contrast.value < loss.contrast.high
    assert decoder.contrast.value == pytest.approx(
        sum(rows["bilinear", one] - rows["transposed", one] for one in LOSS) / 2
    )
    (both,) = cells.interactions()
    assert both.name == "decoder: transposed → bilinear × loss: ce → dice"
    assert both.contrast.value == pytest.approx(over_decoders[1] - over_decoders[0])
    assert both.shown
    assert both.cells == 2


def test_a_factor_without_effect_is_not_shown_and_rows_are_held_against_the_first(runs: Path) -> None:
    cells = Cells(finished(runs), ["optimizer.lr"])
    (effect,) = cells.effects()
    assert not effect.shown
    first, second = cells.rows()
    assert first.against is None
    assert second.against.p > 0.05
    best, *others = Cells(finished(runs), ["decoder", "loss"]).rows()
    assert best.levels == ("bilinear", "dice")
    assert all(row.against.p < 0.05 and row.against.high < 0 for row in others)


def test_a_missing_cell_leaves_effects_to_the_others(runs: Path) -> None:
    some = [run for run in finished(runs) if run.choices["decoder"] != "bilinear" or run.choices["loss"] != "dice"]
    cells = Cells(some, ["decoder", "loss"])
    assert cells.interactions() == []
    assert {one.name: one.cells for one in cells.effects()} == {
        "decoder: transposed → bilinear": 2,
        "loss: ce → dice": 2,
    }


def test_the_page_stands_alone_and_says_what_it_knows(runs: Path, tmp_path: Path) -> None:
    page = compare_runs([runs], ["decoder", "loss"], tmp_path, ["report.py", "runs=<b>"]).read_text()
    assert not re.search(r"https?://|@import|url\(|src=\"(?!data:)", page)
    assert "default-src 'none'" in page
    assert "<b>" not in page
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "24 runs, 8 configurations, by decoder, loss" in text
    assert "over seeds and the val split's 40 images" in text
    assert "1 runs without a val score are left out: failed (failed)" in text
    assert "val mIoU against training time" in text
    assert "Also varied, and averaged over: optimizer.lr" in text


def test_single_seeds_are_called_so_and_runs_without_counts_have_no_interval(tmp_path: Path) -> None:
    root = fabricate_runs(tmp_path / "runs", seeds=1)
    text = compare_runs([root], [], tmp_path / "one.html", []).read_text()
    assert "each configuration was trained once" in text
    finished(root)[0].directory.joinpath("metrics_images.npz").unlink()
    text = compare_runs([root], [], tmp_path / "two.html", []).read_text()
    assert "No interval: not every run kept the counts of its images." in text


def test_what_does_not_vary_and_where_nothing_is_are_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"by=encoder: all runs have the same there. What varies: decoder, loss, opti"):
        compare_runs([runs], ["encoder"], tmp_path, [])
    with pytest.raises(ValueError, match="0 runs were found, and none"):
        compare_runs([tmp_path], [], tmp_path, [])
    with pytest.raises(ValueError, match=r"1 runs were found \(failed\)"):
        compare_runs([runs / "failed"], [], tmp_path, [])


def test_levels_of_runs_that_did_not_type_a_key_come_from_their_configs(tmp_path: Path) -> None:
    typed = Run(tmp_path / "a", "a", overrides=("loss=dice",), config={"loss": {"_target_": "perpixel.losses.Dice"}})
    silent = Run(tmp_path / "b", "b", config={"loss": {"_target_": "perpixel.losses.CrossEntropy"}, "x": {"y": 3}})
    assert [level(run, "loss", [typed, silent]) for run in (typed, silent)] == ["Dice", "CrossEntropy"]
    assert level(typed, "loss", [typed]) == "dice"
    assert [level(run, "x.y", [typed, silent]) for run in (typed, silent)] == ["–", "3"]


def test_the_front_holds_what_nothing_beats() -> None:
    points = [(1.0, 0.5), (2.0, 0.6), (2.0, 0.55), (3.0, 0.6), (0.5, 0.4)]
    assert front(points) == [True, True, False, False, True]
    assert front(points, cheap_is_low=False) == [False, False, False, True, False]


def test_the_command_takes_commas_globs_and_refuses_nothing_found(
    runs: Path, tmp_path: Path, warm_shell: WarmShell
) -> None:
    out = warm_shell.run("report", [f"runs={runs}/lr*", "by=decoder,loss", "output=page.html"])
    assert "24 runs in 8 configurations" in out
    assert "loss: ce → dice: +0.0" in out
    assert (tmp_path / "page.html").stat().st_size < 200_000
    assert "there is no such directory" in warm_shell.run("report", ["runs=nowhere/*"], code=2)
    assert "What varies" in warm_shell.run("report", [f"runs={runs}", "by=encoder"], code=1)


def test_macs_of_a_manifest_are_a_cost(runs: Path, tmp_path: Path) -> None:
    some = finished(runs)
    for place, run in enumerate(some):
        path = run.directory / "manifest.json"
        macs = {"count": 10**9 * (1 + place % 2), "size": [96, 96]}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"macs": macs}))
    assert "multiply–accumulates" in compare_runs([runs], ["loss"], tmp_path / "page.html", []).read_text()
