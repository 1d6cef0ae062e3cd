"""Tests that need something of the machine: skipped where it lacks, but never silently in continuous integration."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test; where the environment variable CI is set, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI is set: nothing may be skipped there)")
    pytest.skip(reason)
