"""W&B: what a run is called there, and the links that it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpixel.tracking.loggers import new_identifier
from perpixel.tracking.symlinks import refuse_links


def test_runs_named_alike_have_ids_of_their_own(tmp_path: Path) -> None:
    ids = {new_identifier(tmp_path / folder / "seed0", moment) for folder in "ab" for moment in ("1", "2")}
    assert len(ids) == 4


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A run with the link that wandb makes to its service's log in the cache folder."""
    logs = tmp_path / "run" / "wandb" / "offline-run-20260101_000000-0f" / "logs"
    logs.mkdir(parents=True)
    cache = tmp_path / "cache" / "wandb" / "logs"
    cache.mkdir(parents=True)
    (cache / "core-debug-20260101_000000.log").write_text("log")
    (logs / "debug-core.log").symlink_to(cache / "core-debug-20260101_000000.log")
    return tmp_path / "run"


def test_wandbs_own_link_is_no_reason_to_refuse_a_run(linked: Path) -> None:
    refuse_links(linked)


@pytest.mark.parametrize("where", ["debug-core.log", "wandb/other.log", "wandb/debug-core.log"])
def test_other_links_are_refused_all_the_same(where: str, linked: Path, tmp_path: Path) -> None:
    name = "core-debug-1.log" if where == "debug-core.log" else ".bashrc"
    (tmp_path / name).write_text("mine")
    (linked / where).symlink_to(tmp_path / name)
    with pytest.raises(ValueError, match="leads out of the run directory"):
        refuse_links(linked)
