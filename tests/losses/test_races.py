"""The races' script, on tensors so small that its numbers mean nothing: that it tells a table, whatever the numbers."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

RACES = Path(__file__).parents[2] / "experiments" / "races"
CPU = torch.device("cpu")


@pytest.fixture
def races(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(RACES))
    contests, measure, script = (importlib.import_module(name) for name in ("contests", "measure", "races"))
    small = [dataclasses.replace(race, shape=(2, race.shape[1], 64, 64)) for race in contests.RACES]
    monkeypatch.setattr(contests, "RACES", small)
    monkeypatch.setattr(measure, "RACES", small)
    monkeypatch.setattr(script, "RACES", small)
    monkeypatch.setattr(measure, "SHORT", 0.0)
    monkeypatch.setattr(script, "peaks", measure.own_peaks)
    monkeypatch.setattr(script, "bandwidth", lambda device: 1e10)
    return script


@pytest.mark.slow
def test_every_race_has_a_row_for_each_kind_of_masks(races: Any) -> None:
    told = "\n".join(races.lines("", 2, CPU))
    for race in races.RACES:
        for kind in ("blobs", "random"):
            (row,) = (
                line for line in told.splitlines() if line.startswith(f"| {race.name}, 2×") and f"| {kind} |" in line
            )
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            assert len(cells) == 11
            assert cells[2] == "2"
            assert cells[8].startswith("–" if race.target is None else ("PASS", "MISS"))
            assert float(cells[9]) > 0
    assert told.count("relative difference") == 2
    assert all("PASS" in line for line in told.splitlines() if "relative difference" in line)  # right at any size
    assert "GB/s" in told.splitlines()[0]


def test_blobs_are_regions_and_random_masks_are_not(races: Any) -> None:
    contests = importlib.import_module("contests")
    race = dataclasses.replace(races.RACES[0], shape=(2, 19, 128, 128))
    borders, rims = [], []
    for blobs in (True, False):
        logits, target = contests.batch(race, blobs, CPU)
        known = (target[:, 1:] != 255) & (target[:, :-1] != 255)
        differ = [plane[:, 1:] != plane[:, :-1] for plane in (target, logits.argmax(1))]
        borders.append([float(each[known].float().mean()) for each in differ])
        ignored = target == 255
        assert 0.04 < ignored.float().mean() < 0.06
        rims.append(float((ignored[:, 1:] & ~ignored[:, :-1]).sum() / ignored.sum()))
        assert len(target.unique()) > 8
    assert max(borders[0]) < 0.2 < 0.8 < min(borders[1])
    assert rims[0] < 0.2 < 0.8 < rims[1]


@pytest.mark.parametrize("labels", [torch.uint8, torch.int64])
def test_deterministic_mode_counts_the_same(races: Any, labels: torch.dtype) -> None:
    contests = importlib.import_module("contests")
    (race,) = (race for race in races.RACES if race.ours is contests.deterministic_metric and race.labels == labels)
    given = contests.batch(race, True, CPU)
    strict, plain = (make(19, CPU)(*given) for make in (contests.deterministic_metric, contests.metric))
    assert strict.sum() == (given[1] != 255).sum()
    assert torch.equal(strict, plain)


def test_plain_torch_counts_the_same(races: Any) -> None:
    contests = importlib.import_module("contests")
    (race,) = (race for race in races.RACES if race.name.endswith("plain torch"))
    given = contests.batch(race, False, CPU)
    ours, theirs = (make(19, CPU)(*given) for make in race.contestants.values())
    assert torch.equal(ours.flatten(), theirs)


def test_the_race_at_150_classes_is_of_whole_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RACES))
    many = [race for race in importlib.import_module("contests").RACES if "150 classes" in race.name]
    assert {race.shape for race in many} == {(8, 150, 512, 512)}
    assert {race.labels for race in many} == {torch.uint8, torch.int64}


def test_few_rounds_are_not_saved(races: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["races.py", "--save", "--pairs", "6", "--only", "no such race"])
    with pytest.raises(SystemExit):
        races.main()
    assert "at least 7 pairs" in capsys.readouterr().err


def test_verdicts(races: Any) -> None:
    verdict = importlib.import_module("table").verdict
    assert [verdict(0.1, worst, 0.4) for worst in (0.3, 0.5)] == ["PASS", "MISS in the worst pair"]
    assert verdict(0.5, 0.6, 0.4) == "MISS"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_metric_does_not_wait_for_a_gpu(races: Any) -> None:
    told = list(races.waits(torch.device("cuda")))
    assert told
    assert all(line.endswith("PASS") for line in told)
