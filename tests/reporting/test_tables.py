from __future__ import annotations

import pytest

from perpixel.reporting.tables import print_scores
from perpixel.uncertainty import Interval

SCORES = {
    "mIoU": 0.5,
    "fwIoU": 0.25,
    "mPrecision": 0.75,
    "mThinRecall": None,
    "ECE": 0.0625,
    "IoU/sky": 0.5,
    "IoU/[red]a/b": None,
    "precision/sky": 0.75,
    "precision/[red]a/b": None,
    "ThinRecall/sky": None,
    "ThinRecall/[red]a/b": None,
}


def test_a_row_per_class_the_means_under_them_and_then_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores("val of [a]/run", SCORES)
    lines = [line.replace("│", "").split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    rows = {line[0]: line[1:] for line in lines if line}
    assert rows["sky"] == ["0.5000", "0.7500", "–"]
    assert rows["[red]a/b"] == ["–", "–", "–"]
    assert rows["mean"] == ["0.5000", "0.7500", "–"]
    assert rows["fwIoU"] == ["0.2500"]
    assert rows["ECE"] == ["0.0625"]
    assert "mIoU" not in rows
    assert rows["val"] == ["of", "[a]/run"]


def test_intervals_stand_behind_their_scores(capsys: pytest.CaptureFixture[str]) -> None:
    mean, sky = (Interval(0.5 - half, 0.5 + half, "jackknife", 58, "15° cells") for half in (0.02, 0.035))
    print_scores("val", SCORES, {"mIoU": mean, "IoU/sky": sky})
    out = capsys.readouterr().out
    assert "0.5000 ± 0.0350" in out
    assert "0.5000 ± 0.0200" in out
    assert "±: half of the 95 % interval over 58 15° cells" in out
    print_scores(
        "val", SCORES, {"mIoU": Interval(None, None, "", 3, "cities", "no interval: 3 cities, and it takes 6")}
    )
    out = capsys.readouterr().out
    assert "no interval: 3 cities, and it takes 6" in out
    assert "±" not in out
