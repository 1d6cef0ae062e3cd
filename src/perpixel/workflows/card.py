"""The model card that lies beside the weights of every run."""

from __future__ import annotations

import logging
from pathlib import Path

from perpixel.reporting.model_card import CARD, model_card
from perpixel.spec import ModelSpec
from perpixel.tracking.files import write_atomically

log = logging.getLogger(__name__)


def write_card(run: Path, spec: ModelSpec) -> None:
    """Write ``model/model_card.md`` of a run. A fault in it must not cost a training: it is logged."""
    try:
        write_atomically(run / "model" / CARD, model_card(spec, run))
    except Exception:
        log.exception("the model card of %s could not be written; the run is not affected", run)
