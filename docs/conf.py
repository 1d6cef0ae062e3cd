"""Sphinx: Markdown pages beside this file, and reference pages made from the configs and docstrings at each build."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # reference.py
sys.path.insert(0, str(HERE.parent / "src"))

from perpixel._version import __version__  # noqa: E402 - found by the lines above

project = "perpixel"
author = "the perpixel authors"
copyright = "the perpixel authors, Apache-2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository outside docs/
autodoc_typehints = "description"
autodoc_member_order = "bysource"
html_theme = "furo"
html_title = f"perpixel {release}"
html_theme_options = {"source_repository": "https://github.com/perpixel/perpixel/", "source_branch": "main"}


def setup(app: object) -> None:
    """Write the reference pages before Sphinx reads the sources."""
    from reference import write_reference

    write_reference(HERE / "reference")
