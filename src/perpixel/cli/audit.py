"""``audit``: one page on what is in the data, what is wrong with it, and whether the pipeline keeps it aligned."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from perpixel.cli.arguments import checked_jobs, parse, refuse, run_hydra, shows_only, with_texts
from perpixel.config import ConfigError
from perpixel.config.compose import job_name
from perpixel.config.schema import UnusedInAudit

log = logging.getLogger(__name__)


def main() -> None:
    """Check the command line, then look at the data."""
    args = parse()
    if args.multirun:
        sys.exit("perpixel: audit takes one data set; -m belongs to train.")
    _refuse_unused(args.overrides)
    jobs = checked_jobs(args, "audit")
    if not shows_only(args):
        with_texts(args, "audit", jobs)
    run_hydra(audit, "audit")


def _refuse_unused(overrides: Sequence[str]) -> None:
    """Exit where something is typed that only a training uses; in an experiment it is of no effect."""
    unused = [field.name for field in fields(UnusedInAudit)]
    typed = [one for one in overrides if re.split(r"[.=@]", one.lstrip("+~"), maxsplit=1)[0] in unused]
    if typed:
        refuse(ConfigError(f"{typed[0]}: an audit looks at data= and augment=, and uses nothing else of a training."))


def audit(cfg: DictConfig) -> None:
    """Write ``audit.html`` and ``audit.json``, and say where they are.

    Raises:
        ValueError: the configuration has faults, or not a single sample can be read (the page is written, and named).
    """
    import torch

    from perpixel.data.audit import write_audit
    from perpixel.data.unused import warning_of_unused
    from perpixel.setup.settle import settle_batches
    from perpixel.workflows.assembly import build_recipe, build_source

    overrides = cast(list[str], OmegaConf.to_container(HydraConfig.get().overrides.task))
    directory = Path(cfg.output) / "audit" / job_name(overrides, ("output",))
    directory.mkdir(parents=True, exist_ok=True)
    source = build_source(cfg)
    settle_batches(cfg, source, torch.cuda.is_available())
    root = cfg.data.source.get("root")
    about = {"data": str(root)} if root is not None else {}
    about["command"] = " ".join(["perpixel audit", *map(shlex.quote, overrides)])
    found = write_audit(source, build_recipe(cfg, source), directory, cfg.workers, about=about)
    if source.unused:
        log.warning(warning_of_unused(source.unused))
    faults, leaks = len(found["faults"]), len(found["leaks"])
    log.info("%s: %d faults, %d leaks; %s", found["source"], faults, leaks, found["alignment"]["says"])
    log.info("audit: %s", directory / "audit.html")
