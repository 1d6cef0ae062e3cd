"""``report``: compare any runs on one page."""

from __future__ import annotations

import glob
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from perpixel.cli.arguments import checked_jobs, parse, quoted, refuse, run_hydra, shows_only
from perpixel.config import ConfigError

log = logging.getLogger(__name__)

PLAIN_LIST = re.compile(r"[\w.@/]+(,[\w.@/]+)*")


def main() -> None:
    """Check the command line, then write the page."""
    args = parse()
    if args.multirun:
        sys.exit("perpixel: report reads what is there; -m belongs to train.")
    if args.hydra_help:
        args.overrides = [*args.overrides, "runs=."]  # who asks for help need not know which
    written = {one: as_list(one) for one in args.overrides}
    args.overrides = list(written.values())
    sys.argv[1:] = [written.get(one, one) for one in sys.argv[1:]]
    jobs = checked_jobs(args, "report")
    if not shows_only(args) and not directories(jobs[0].cfg.runs):
        refuse(ConfigError(f"runs={jobs[0].cfg.runs}: there is no such directory. Globs need quotes: 'runs=runs/*/*'."))
    run_hydra(report, "report")


def as_list(override: str) -> str:
    """``by=a,b`` as a list, which Hydra would take for a sweep; ``runs=<path>`` in quotes, whatever its letters."""
    key, _, value = override.partition("=")
    if key == "by" and PLAIN_LIST.fullmatch(value) and value != "null":
        return f"by=[{value}]"
    if key == "runs" and value and value[0] not in "['\"":
        return f"runs={quoted(Path(value))}"
    return override


def directories(given: Any) -> list[Path]:
    """What paths and globs name, in order, each once."""
    patterns: Sequence[str] = [str(one) for one in given] if isinstance(given, ListConfig | list) else [str(given)]
    found = [Path(path) for pattern in patterns for path in sorted(glob.glob(str(Path(pattern).expanduser())))]  # noqa: PTH207
    return list(dict.fromkeys(path for path in found if path.is_dir()))


def report(cfg: DictConfig) -> None:
    """Write the page.

    Raises:
        ValueError: no run has a score, or what is to be compared does not vary.
    """
    from perpixel.workflows.report import compare_runs

    by = [str(key) for key in cfg.by or ()]
    page = compare_runs(directories(cfg.runs), by, Path(cfg.output).expanduser(), [sys.argv[0], *sys.argv[1:]])
    log.info("report: %s", page)
