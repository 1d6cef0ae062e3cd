"""Where the YAMLs lie."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def conf_dir() -> Path:
    """The directory of configs: ``perpixel/conf`` in an installed wheel, else ``conf/`` of the checkout.

    Raises:
        FileNotFoundError: neither is there.
    """
    checkout = PACKAGE.parent.parent / "conf"
    for directory in (PACKAGE / "conf", checkout):
        if (directory / "train.yaml").is_file():
            return directory
    raise FileNotFoundError(
        f"perpixel's configs are missing: neither '{PACKAGE / 'conf'}' nor '{checkout}' holds train.yaml."
    )
