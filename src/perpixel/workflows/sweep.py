"""The jobs of a sweep: which ones a command asks for, and one of them in its directory."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from perpixel.config import Job, resumed_config
from perpixel.sweeps.identity import asked, settled
from perpixel.sweeps.ledger import CLAIM, Ledger, Request, claimed
from perpixel.sweeps.score import monitored_score
from perpixel.tracking import manifest
from perpixel.tracking.files import owner
from perpixel.tracking.runs import load_status
from perpixel.tracking.symlinks import refuse_links
from perpixel.training import Pruned
from perpixel.workflows.assembly import build_data, build_source, settle_normalisation
from perpixel.workflows.job import run_job

log = logging.getLogger(__name__)


def requests(jobs: Sequence[Job]) -> list[Request]:
    """What a command line asks for; the data of jobs that share them are read once, and only if that is needed."""
    known: dict[str, Mapping[str, str]] = {}
    return [request(job.cfg, own_overrides(job.overrides), known) for job in jobs]


def request(cfg: DictConfig, overrides: Sequence[str], known: dict[str, Mapping[str, str]]) -> Request:
    """One job's request.

    Args:
        cfg: composed and checked.
        overrides: of the job, without Hydra's own.
        known: data hashes by data configuration, filled as they are found.
    """

    def data() -> Mapping[str, str]:
        key = json.dumps([OmegaConf.to_container(cfg.data, resolve=True), cfg.seed], default=str)
        if key not in known:
            known[key] = data_hashes(cfg)
        return known[key]

    return Request(tuple(overrides), asked(cfg), data)


def own_overrides(overrides: Sequence[str]) -> list[str]:
    """A job's overrides as Hydra names its directory by them: without its own, of a repeated key the last value."""
    last = {one.partition("=")[0]: one for one in overrides}
    return [one for key, one in last.items() if not key.lstrip("+~").startswith("hydra")]


def data_hashes(cfg: DictConfig) -> dict[str, str]:
    """Content hashes of a config's splits as they are now; empty where they cannot be read (the run says why)."""
    cfg = cfg.copy()
    with suppress(ValueError, OSError):
        source = build_source(cfg)
        settle_normalisation(cfg, source)
        return build_data(cfg, source).fingerprints()
    return {}


def sweep_job(cfg: DictConfig, run: Path, overrides: list[str], sweep: Path) -> float | None:
    """Train a job of a sweep, or go on with it; what is finished is left as it is.

    Args:
        cfg: composed for this job.
        run: its run directory, within the sweep's.
        overrides: what was typed for it.
        sweep: the sweep's directory.

    Returns:
        The monitored score of its best weights, NaN where it has none; None where another process works on it.
    """
    with claimed(run) as ours:
        if not ours:
            print(f"{run.name} is being trained by {owner(run, CLAIM)}: left to it")
            return None
        if load_status(run) in ("finished", "pruned"):
            return monitored_score(run)
        ledger = Ledger(sweep)
        row = ledger.row(run.name) or ledger.add(Request(tuple(overrides), asked(cfg)), name=run.name)
        log.info("\njob %s: %s", row.num, " ".join(overrides))
        again = bool(manifest.read(run))
        if again:
            refuse_links(run)
            cfg = settled(cfg, resumed_config(run, ())[0])
        with suppress(Pruned):  # the manifest says so
            run_job(cfg, run, [] if again else overrides, sweep=sweep.name, job=row.num, resume=again)
    return monitored_score(run)
