"""The model card that lies beside the weights of every run."""

from __future__ import annotations

import logging
from pathlib import Path

from perpixel.bundle.bundle import DESCRIPTION, read_description
from perpixel.reporting.model_card import CARD, model_card
from perpixel.spec import ModelSpec
from perpixel.tracking.files import write_atomically

log = logging.getLogger(__name__)


def write_card(run: Path) -> None:
    """Write ``model/model_card.md`` of a run with a bundle. A fault must not cost a training: it is logged."""
    try:
        described = run / "model" / DESCRIPTION
        spec = ModelSpec.from_json(read_description(described), str(described))
        write_atomically(described.with_name(CARD), model_card(spec, run))
    except Exception:
        log.exception("the model card of %s could not be written; the run is not affected", run)
