"""``doctor``: what of the environment is as it must be, what is not, and how to fix it."""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig

from perpixel.cli.arguments import checked_jobs, parse, run_hydra, shows_only

WIDTH = 22


def main() -> None:
    """Check the command line, then look. Exits with 1 where there are faults."""
    args = parse()
    if args.multirun:
        sys.exit("perpixel: doctor looks at one environment; -m belongs to train.")
    jobs = checked_jobs(args, "doctor")
    if shows_only(args):
        return run_hydra(lambda cfg: None, "doctor")
    sys.exit(1 if doctor(jobs[0].cfg) else 0)


def doctor(cfg: DictConfig) -> int:
    """Print every finding, with its fix; returns how many are faults."""
    from perpixel.workflows.doctor import Level, diagnose

    counts = dict.fromkeys(Level, 0)
    for found in diagnose(Path(cfg.output), Path(cfg.root) if cfg.root is not None else None, cfg.deep):
        counts[found.level] += 1
        print(f"{found.level:<8} {found.about:<{WIDTH}} {found.says}")
        if found.fix:
            print(f"{'':<8} {'':<{WIDTH}} → {found.fix}")
    faults, warnings = counts[Level.FAULT], counts[Level.WARNING]
    print(f"{faults} fault{'s' * (faults != 1)}, {warnings} warning{'s' * (warnings != 1)}")
    return faults
