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
    borders = []
    for blobs in (True, False):
        _, target = contests.batch(race, blobs, CPU)
        known = (target[:, 1:] != 255) & (target[:, :-1] != 255)
        borders.append(float((target[:, 1:] != target[:, :-1])[known].float().mean()))
        assert len(target.unique()) > 8
    assert borders[0] < 0.2 < 0.8 < borders[1]


def test_verdicts(races: Any) -> None:
    verdict = importlib.import_module("table").verdict
    assert [verdict(0.1, worst, 0.4) for worst in (0.3, 0.5)] == ["PASS", "MISS in the worst pair"]
    assert verdict(0.5, 0.6, 0.4) == "MISS"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_metric_does_not_wait_for_a_gpu(races: Any) -> None:
    told = list(races.waits(torch.device("cuda")))
    assert told
    assert all(line.endswith("PASS") for line in told)
