"""The command line: ``perpixel <verb> …`` equals ``python src/<verb>.py …``."""

from __future__ import annotations

import importlib
import sys

from perpixel.cli.output import let_readers_leave

VERBS = ("init", "train", "evaluate", "predict", "export", "report", "audit", "shapes", "doctor")


def main() -> None:
    """Run the verb named by the first argument; the rest are its overrides."""
    let_readers_leave()
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb not in VERBS:
        asked_for_help = verb in ("-h", "--help", "")
        print(
            f"usage: perpixel {{{','.join(VERBS)}}} [group=choice …] [key=value …]; perpixel <verb> --help lists them"
        )
        sys.exit(0 if asked_for_help else f"perpixel: there is no verb '{verb}'")
    sys.argv = [f"{sys.argv[0]} {verb}", *sys.argv[2:]]
    importlib.import_module(f"perpixel.cli.{verb}").main()
