from __future__ import annotations

import csv
import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from perpixel.tracking.code import code_digest
from perpixel.tracking.files import in_use
from perpixel.tracking.leaderboard import Spread, seed_groups, standings, write_leaderboard
from perpixel.tracking.runs import Run, Sweep, load_run, load_sweep

OUT_OF_MEMORY = "RuntimeError: CUDA out of memory | tried <b>2 GiB</b>\nTraceback …"


def write_run(directory: Path, status: str, miou: float | None = None, error: str | None = None) -> None:
    directory.mkdir(parents=True)
    manifest = {"name": directory.name, "status": status, "error": error, "duration_s": 61.5, "parameters": 6_251_234}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    lines = [{"epoch": e, "train/images_per_s": 10.0 * (e + 1), "val/mIoU": s} for e, s in enumerate((0.2, 0.5, 0.4))]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if miou is None:
        return
    scores = {"mIoU": miou, "pixel_accuracy": 0.9, "IoU/sky": miou, "IoU/road": None, "absent": ["road"]}
    scores |= {"mBoundaryIoU": 0.41, "mThinRecall": None, "mSmallObjectRecall": 0.3, "ECE": 0.02}
    metrics = {"classes": ["sky", "road"], "palette": [[0, 0, 255], [90, 90, 90]], "val": scores, "test": scores}
    (directory / "metrics.json").write_text(json.dumps(metrics))


def write_sweep(root: Path, jobs: list[tuple[list[str], str, float | None]]) -> Path:
    ledger = [{"num": n, "dir": f"{n}_job", "overrides": overrides} for n, (overrides, _, _) in enumerate(jobs)]
    (root / "sweep.json").write_text(json.dumps({"started": "2026-11-21", "command": ["train.py"], "jobs": ledger}))
    for job, (_, status, miou) in zip(ledger, jobs, strict=True):
        if status != "pending":
            error = OUT_OF_MEMORY if status == "failed" else None
            write_run(root / str(job["dir"]), status, miou, error)
    return root


@pytest.fixture
def sweep_dir(tmp_path: Path) -> Path:
    return write_sweep(
        tmp_path,
        [
            (["decoder=transposed", "loss=ce", "trainer.max_epochs=3"], "finished", 0.50),
            (["decoder=transposed", "loss=dice", "trainer.max_epochs=3"], "failed", None),
            (["decoder=bilinear", "loss=ce", "trainer.max_epochs=3"], "finished", 0.55),
            (["decoder=bilinear", "loss=dice", "trainer.max_epochs=3"], "pending", None),
            (["decoder=nearest", "loss=dice", "trainer.max_epochs=3"], "running", None),
        ],
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_run_whose_process_is_gone_is_interrupted_and_tells_how_to_go_on(sweep_dir: Path) -> None:
    run = load_sweep(sweep_dir).runs[-1]
    assert run.manifest["status"] == "running"
    assert run.status == "interrupted"
    assert f"resume={run.directory}" in str(run.error)


def test_finished_runs_rank_by_val_miou_and_failed_ones_stand_last(sweep_dir: Path) -> None:
    (running,) = (run.directory for run in load_sweep(sweep_dir).runs if run.manifest.get("status") == "running")
    with in_use(running):
        write_leaderboard(sweep_dir)
    rows = read_csv(sweep_dir / "leaderboard.csv")
    assert [row["status"] for row in rows] == ["finished", "finished", "running", "pending", "failed"]
    assert [row["rank"] for row in rows] == ["1", "2", "", "", ""]
    assert [row["val mIoU"] for row in rows] == ["0.55", "0.5", "", "", ""]
    final = [[row[f"val {name}"] for row in rows[1:3]] for name in ("mBoundaryIoU", "mThinRecall", "ECE")]
    assert final == [["0.41", ""], ["", ""], ["0.02", ""]]
    assert rows[0]["val mSmallObjectRecall"] == "0.3"
    assert rows[-1]["error"] == OUT_OF_MEMORY


def test_a_row_holds_what_varies_and_what_it_cost(sweep_dir: Path) -> None:
    write_leaderboard(sweep_dir)
    best = read_csv(sweep_dir / "leaderboard.csv")[0]
    assert (best["decoder"], best["loss"]) == ("bilinear", "ce")
    assert "trainer.max_epochs" not in best
    assert (best["train seconds"], best["images/s"], best["parameters"]) == ("61.5", "20.0", "6251234")
    assert best["best epoch"] == "1"
    assert (best["val IoU/sky"], best["val IoU/road"]) == ("0.55", "")


def test_markdown_survives_pipes_newlines_and_markup_in_an_error(sweep_dir: Path) -> None:
    write_leaderboard(sweep_dir)
    table = [line for line in (sweep_dir / "leaderboard.md").read_text().splitlines() if line.startswith("|")]
    assert len(table) == 2 + 5
    assert r"out of memory \| tried &lt;b>2 GiB" in table[-1]
    assert {line.replace(r"\|", "").count("|") for line in table} == {table[0].count("|")}


def test_seeds_are_an_axis_with_mean_and_sample_deviation(tmp_path: Path) -> None:
    scores = {("ce", 0): 0.50, ("ce", 1): 0.54, ("dice", 0): 0.60, ("dice", 1): None}
    jobs = [
        ([f"loss={loss}", f"seed={seed}"], "failed" if score is None else "finished", score)
        for (loss, seed), score in scores.items()
    ]
    dice, ce = seed_groups(load_sweep(write_sweep(tmp_path, jobs)))
    assert (ce.choices, ce.val.n) == ({"loss": "ce"}, 2)
    assert ce.val.mean == pytest.approx(0.52)
    assert ce.val.std == pytest.approx(0.04 / 2**0.5)
    assert (dice.val, dice.runs) == (Spread(1, 0.60, None), 2)
    write_leaderboard(tmp_path)
    assert "| ce | 2 of 2 | 0.520 ± 0.028 | 0.520 ± 0.028 |" in (tmp_path / "leaderboard.md").read_text()
    assert read_csv(tmp_path / "leaderboard_seeds.csv")[1]["val mIoU mean"] == "0.52"


def test_without_a_seed_axis_there_is_no_second_table(sweep_dir: Path) -> None:
    write_leaderboard(sweep_dir)
    assert not (sweep_dir / "leaderboard_seeds.csv").exists()
    assert "Over seeds" not in (sweep_dir / "leaderboard.md").read_text()


def test_a_failed_runs_scores_do_not_rank(tmp_path: Path) -> None:
    write_sweep(tmp_path, [(["loss=ce"], "failed", 0.9), (["loss=dice"], "finished", 0.1)])
    assert [place.run.status for place in standings(load_sweep(tmp_path))] == ["finished", "failed"]


def test_scores_of_a_part_are_marked(sweep_dir: Path) -> None:
    write_leaderboard(sweep_dir)
    assert "scored in part" not in (sweep_dir / "leaderboard.md").read_text()
    path = sweep_dir / "0_job" / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["val"]["part"] = {"pixels": 1536, "of": 6144}
    path.write_text(json.dumps(metrics))
    write_leaderboard(sweep_dir)
    marks = {row["run"]: row["scored in part"] for row in read_csv(sweep_dir / "leaderboard.csv")}
    assert (marks["0_job"], marks["2_job"]) == ("val: 1,536 of 6,144 pixels", "")
    table = (sweep_dir / "leaderboard.md").read_text()
    assert "| val: 1,536 of 6,144 pixels |" in table
    assert "evaluate run=… scores all of it" in table


def test_the_best_epoch_is_the_one_whose_weights_were_kept(tmp_path: Path) -> None:
    lines = [(0, 0.9, 0.2), (1, 0.5, 0.6), (1, 0.4, 0.3), (2, 0.7, 0.5)]  # two validations in one epoch
    text = "".join(json.dumps({"epoch": e, "val/loss": loss, "val/mIoU": miou}) + "\n" for e, loss, miou in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    assert load_run(tmp_path).best_epoch == 1
    (tmp_path / "config.yaml").write_text("training: {checkpoint: {monitor: val/IoU/a}}")
    assert load_run(tmp_path).best_epoch is None
    lines[3] = (2, 0.3, 0.5)
    text = "".join(json.dumps({"epoch": e, "val/loss": loss, "val/mIoU": miou}) + "\n" for e, loss, miou in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    (tmp_path / "config.yaml").write_text("training: {checkpoint: {monitor: val/loss}}")
    assert load_run(tmp_path).best_epoch == 2


def test_runs_of_other_code_are_shown(sweep_dir: Path) -> None:
    for number, code in ((0, "0123abc"), (2, code_digest())):
        path = sweep_dir / f"{number}_job" / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"code": code}))
    write_leaderboard(sweep_dir)
    told = {row["run"]: row["code"] for row in read_csv(sweep_dir / "leaderboard.csv")}
    assert (told["0_job"], told["2_job"]) == ("other (0123abc)", "")
    assert "other (0123abc)" in (sweep_dir / "leaderboard.md").read_text()


def test_jobs_may_write_at_once(sweep_dir: Path) -> None:
    processes = [
        multiprocessing.get_context("fork").Process(target=write_leaderboard, args=(sweep_dir,)) for _ in "1234"
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(read_csv(sweep_dir / "leaderboard.csv")) == 5
    assert not [path for path in sweep_dir.iterdir() if path.name.startswith(".leaderboard")]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("manifest.json", '{"status": "finis'),
        ("manifest.json", "[1, 2]"),
        ("config.yaml", "model: {unclosed"),
        ("config.yaml", ""),
        ("metrics.json", "{"),
        ("metrics.jsonl", '{"epoch": 0, "val/mIoU": 0.3}\n{"epoch": 1, "val/mI'),
        ("overrides.yaml", "just text"),
    ],
)
def test_partial_files_do_not_stop_the_reader(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    run = load_run(tmp_path)
    assert run.status == "pending"
    assert run.series("val/mIoU") == ([(0, 0.3)] if file == "metrics.jsonl" else [])


def test_a_directory_that_does_not_exist_is_a_pending_run(tmp_path: Path) -> None:
    run = load_run(tmp_path / "3_loss-ce")
    assert (run.status, run.name, run.best_epoch, run.overlays) == ("pending", "3_loss-ce", None, {})


def test_values_that_are_not_finite_read_as_missing(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 0, "train/loss": NaN}\n{"epoch": 1, "train/loss": 2}\n')
    assert load_run(tmp_path).series("train/loss") == [(1, 2.0)]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            [["decoder=transposed", "optimizer.lr=0.01"], ["decoder=bilinear", "optimizer.lr=0.1"]],
            "transposed · lr=0.01",
        ),
        ([["+seed=1", "loss=ce"], ["+seed=2", "loss=ce"]], "seed=1"),
        ([["model.skips=true"], []], "skips=true"),
        ([["loss=ce"]], "0_job"),
    ],
)
def test_a_label_says_only_what_differs(overrides: list[list[str]], expected: str) -> None:
    runs: list[Any] = [Run(Path(f"{n}_job"), f"{n}_job", n, overrides=tuple(o)) for n, o in enumerate(overrides)]
    sweep = Sweep(Path(), tuple(runs))
    assert sweep.label(sweep.runs[0]) == expected
