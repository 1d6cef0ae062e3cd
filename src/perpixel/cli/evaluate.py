"""``evaluate``: score a finished run's best weights on one of its splits."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from omegaconf import DictConfig

from perpixel.cli.arguments import checked_jobs, parse, run_hydra
from perpixel.config import read_run_config
from perpixel.tracking.symlinks import refuse_links

log = logging.getLogger(__name__)


def main() -> None:
    """Check the command line, then score."""
    args = parse()
    if args.multirun:
        sys.exit("perpixel: evaluate takes one run; -m belongs to train.")
    if args.help or args.hydra_help:
        args.overrides = [*args.overrides, "run=."]  # who asks for help need not know which; all else is checked
    checked_jobs(args, "evaluate")
    run_hydra(evaluate, "evaluate")


def evaluate(cfg: DictConfig) -> None:
    """Score, print a table, and write ``evaluation_<split>.json`` with its reliability diagram into the run directory.

    Raises:
        ValueError: the directory is no finished run, the split does not exist, or the data have changed.
    """
    run = Path(cfg.run)
    trained = _config_of(run)
    if cfg.batch_size is not None:
        trained.data.eval_batch_size = cfg.batch_size
    trained.evaluation.update({key: value for key, value in cfg.evaluation.items() if value is not None})
    from perpixel.reporting.tables import print_scores
    from perpixel.workflows.evaluate import score_run

    scores = score_run(run, trained, cfg.split, cfg.data.allow_changed)
    print_scores(f"{cfg.split} of {run}", scores)
    log.info("written to %s", run / f"evaluation_{cfg.split}.json")


def _config_of(run: Path) -> DictConfig:
    path = run / "config.yaml"
    if not path.is_file():
        raise ValueError(f"run={run}: this is no run directory (it has no config.yaml).")
    if not any((run / "checkpoints").glob("best-*.ckpt")):
        raise ValueError(
            f"run={run}: this run has no best weights in checkpoints/; it failed or is not done. "
            f"See {run / 'manifest.json'}."
        )
    refuse_links(run)
    return read_run_config(path)
