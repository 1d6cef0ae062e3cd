"""``evaluate``: score a trained model on a split."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from perpixel.cli.arguments import checked_jobs, parse, refuse, run_hydra
from perpixel.config import ConfigError, changed_config, read_run_config
from perpixel.tracking.symlinks import refuse_links

log = logging.getLogger(__name__)

OF_THE_RUN = ("data", "evaluation")
"""Groups of which single keys change the run's own, unless another choice of the group is made."""


def main() -> None:
    """Check the command line, then score."""
    args = parse()
    if args.multirun:
        sys.exit("perpixel: evaluate takes one run; -m belongs to train.")
    if args.hydra_help:
        args.overrides = [*args.overrides, "run=."]  # help needs no run; everything else is checked
    own, changes = split_changes(args.overrides)
    sys.argv = [one for one in sys.argv if one not in changes]
    args.overrides = own
    checked_jobs(args, "evaluate")
    run_hydra(partial(evaluate, changes=changes), "evaluate")


def split_changes(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The verb's overrides, and those that change keys of the run's own config."""
    chosen = {one.partition("=")[0] for one in overrides}
    own: list[str] = []
    changes: list[str] = []
    for one in overrides:
        group, dot, _ = one.partition("=")[0].partition(".")
        (changes if dot and group in OF_THE_RUN and group not in chosen else own).append(one)
    return own, changes


def evaluate(cfg: DictConfig, changes: Sequence[str] = ()) -> None:
    """Score, print a table, and write ``evaluation_<split>.json`` with its reliability diagram.

    Args:
        cfg: composed from ``conf/evaluate.yaml``.
        changes: of the run's own config, as ``key=value``.

    Raises:
        ValueError: there is no model, the split does not exist, or the data have changed.
    """
    run = Path(cfg.run)
    trained = None
    if (run / "config.yaml").is_file():
        refuse_links(run)
        trained = read_run_config(run / "config.yaml")
    try:
        if changes and trained is None:
            raise ConfigError(f"{changes[0]}: run={run} has no config.yaml to change; choose {_group(changes[0])}=…")
        if changes and trained is not None:
            trained = changed_config(trained, changes)
    except ConfigError as error:
        refuse(error)
    from perpixel.reporting.tables import print_scores
    from perpixel.workflows.evaluate import Request
    from perpixel.workflows.evaluate import evaluate as score

    found = score(
        Request(
            model=run,
            split=cfg.split,
            data=cfg.data,
            trained=trained,
            evaluation=cfg.evaluation,
            batch_size=cfg.batch_size,
            device=cfg.device,
            output=None if cfg.output is None else Path(cfg.output),
        )
    )
    print_scores(f"{cfg.split} of {run}", found.scores, found.intervals)
    log.info("written to %s", found.path)


def _group(change: str) -> str:
    return change.partition(".")[0]
