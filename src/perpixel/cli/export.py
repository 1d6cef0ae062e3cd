"""``export``: a trained model in another format, compared with the original before it counts."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from omegaconf import DictConfig

from perpixel.cli.arguments import checked_jobs, parse, refuse, run_hydra, shows_only
from perpixel.config import together

log = logging.getLogger(__name__)


def main() -> None:
    """Check the command line, then export."""
    args = parse()
    if args.multirun:
        sys.exit("perpixel: export takes one model; -m belongs to train.")
    if args.hydra_help:
        args.overrides = [*args.overrides, "run=."]  # who asks for help need not know which; all else is checked
    jobs = checked_jobs(args, "export")
    if not shows_only(args) and (faults := check(jobs[0].cfg)):
        refuse(together(faults))
    run_hydra(export, "export")


def check(cfg: DictConfig) -> list[str]:
    """Faults of the verb's own keys, told before torch is imported."""
    faults = [f"pixels={cfg.pixels}: give 1 or more."] if cfg.pixels < 1 else []
    if cfg.limit is not None and cfg.limit < 1:
        faults.append(f"limit={cfg.limit}: give 1 or more, or null for all.")
    if not Path(cfg.run).exists():
        faults.append(f"run={cfg.run}: there is no such run directory or bundle.")
    if cfg.images is not None and not Path(cfg.images).is_dir():
        faults.append(f"images={cfg.images}: there is no such folder.")
    return faults


def export(cfg: DictConfig) -> None:
    """Export, compare, and write the folder.

    Raises:
        ValueError: there is no model, a library is missing, or the export differs from the original.
    """
    from perpixel.workflows.export import export_model

    out = export_model(
        Path(cfg.run),
        cfg.export,
        output=None if cfg.output is None else Path(cfg.output),
        images=None if cfg.images is None else Path(cfg.images),
        pixels=cfg.pixels,
        limit=cfg.limit,
        allow_changed=cfg.data.allow_changed,
    )
    log.info("written to %s", out)
