"""What stands before every verb: parse, compose and check all jobs, and only then start anything."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from perpixel.cli.output import end_quietly_on_interrupts, let_readers_leave
from perpixel.config import ConfigError, Job, compose, conf_dir, expand
from perpixel.config.help import help_text
from perpixel.config.short import write_out
from perpixel.config.texts import is_text_in, quoted_texts, typed_as_text
from perpixel.tracking.files import is_in_use, owner, unwritable

USAGE_ERROR = 2  # as argparse and the shell have it


def parse() -> argparse.Namespace:
    """Hydra's own command line (overrides, -m, --cfg, --config-dir, …)."""
    let_readers_leave()
    end_quietly_on_interrupts()
    return get_args_parser().parse_args()


def checked_jobs(args: argparse.Namespace, verb: str) -> list[Job]:
    """Compose and check every job that the command line asks for; asked for help, print it and exit.

    Exits with status 2 and a message on standard error where the configuration has a fault.
    """
    try:
        if args.config_path or args.config_name or args.experimental_rerun:
            raise ConfigError("--config-path, --config-name and --experimental-rerun are not taken: use --config-dir.")
        quote_texts(args, typed_as_text(verb))
        if args.help:
            show_help(args, verb)
        if args.multirun:
            return expand(args.overrides, verb, args.config_dir)
        return [compose(args.overrides, verb, args.config_dir)]
    except ConfigError as error:
        refuse(error)


def show_help(args: argparse.Namespace, verb: str) -> NoReturn:
    """Print the help of a verb, or of the groups of which a choice was typed, and exit.

    Raises:
        ConfigError: a choice or key does not exist.
    """
    job = compose(args.overrides, verb, args.config_dir, partial=True)
    typed = [override.lstrip("+~").partition("=")[0] for override in args.overrides]
    folders = [*([Path(args.config_dir)] if args.config_dir else []), conf_dir()]
    print(help_text(verb, job.cfg, job.choices, typed, folders))
    sys.exit(0)


def with_texts(args: argparse.Namespace, verb: str, jobs: list[Job]) -> list[Job]:
    """The jobs, composed once more where a class takes a text for what was read as a number."""
    tests = [is_text_in(job.cfg) for job in jobs]
    return checked_jobs(args, verb) if quote_texts(args, lambda key: any(test(key) for test in tests)) else jobs


def refuse(error: ConfigError) -> NoReturn:
    """Print a configuration's faults and exit."""
    print(f"perpixel: {error}", file=sys.stderr)
    sys.exit(USAGE_ERROR)


def shows_only(args: argparse.Namespace) -> bool:
    """Whether the command line asks for help or for the configuration, and starts nothing."""
    return bool(args.help or args.hydra_help or args.cfg or args.info or args.shell_completion)


def quote_texts(args: argparse.Namespace, is_text: Callable[[str], bool]) -> bool:
    """Put quotes around texts that look like numbers, for us and for Hydra; whether there were any."""
    quoted_ones = dict(zip(args.overrides, quoted_texts(args.overrides, is_text), strict=True))
    changed = any(old != new for old, new in quoted_ones.items())
    args.overrides = list(map(quoted_ones.__getitem__, args.overrides))
    sys.argv[1:] = [quoted_ones.get(argument, argument) for argument in sys.argv[1:]]
    return changed


def run_hydra(task: Callable[[DictConfig], Any], verb: str, extra: Sequence[str] = ()) -> None:
    """Hand over to Hydra with some more overrides."""
    sys.argv += extra
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=verb)(_answering(task))()


def _answering(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """A user's mistake needs its message, not Hydra's traceback."""

    @functools.wraps(task)
    def answering(cfg: DictConfig) -> Any:
        try:
            return task(write_out(cfg))
        except (ValueError, OSError) as error:
            sys.exit(f"perpixel: {error}")

    return answering


def check_writable(directory: Path) -> None:
    """Exit with a message where a directory cannot be written to, or another process trains in it: Hydra would answer
    with a traceback, or write into that process's log.
    """
    if directory.is_dir() and is_in_use(directory):
        sys.exit(f"perpixel: '{directory}' is in use by {owner(directory)}: wait for it, stop it, or choose another.")
    if reason := unwritable(directory):
        sys.exit(f"perpixel: '{directory}' cannot be written to: {reason}. Choose another place with output=…")


def quoted(path: Path) -> str:
    """A path as the value of an override, whatever characters it holds."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"


def constant_keys(jobs: Sequence[Job]) -> list[str]:
    """Keys whose override is the same in all jobs of a sweep."""
    if len(jobs) < 2:
        return []
    first, *others = (dict(override.lstrip("+~").partition("=")[::2] for override in job.overrides) for job in jobs)
    return [key for key, value in first.items() if all(other.get(key) == value for other in others)]
