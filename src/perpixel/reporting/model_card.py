"""``model_card.md``: what a model is for, where it comes from and how good it is, in the form that the hub reads.

Every fact comes from the model's own record (``ModelSpec.provenance``) or its run directory; a field without facts says
so, and waits for a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from perpixel.spec import ModelSpec
from perpixel.tracking import manifest

CARD = "model_card.md"
TEMPLATE = Path(__file__).parent / "templates" / "model_card.md.jinja"
SCORES = {
    "mIoU": "mIoU",
    "mDice": "mDice",
    "pixel_accuracy": "pixel accuracy",
    "mBoundaryIoU": "boundary IoU",
    "mThinRecall": "thin-structure recall",
    "mSmallObjectRecall": "small-object recall",
    "ECE": "ECE (calibration)",
}
PER_CLASS = ("IoU", "precision", "recall")


def model_card(spec: ModelSpec, run: Path | None = None, exports: Mapping[str, str] | None = None) -> str:
    """The card as Markdown with the hub's YAML head.

    Args:
        spec: the model.
        run: its run directory, where it is at hand: its duration, hardware and looks at the test split.
        exports: what the comparison of each export with the original found, in words, by format.
    """
    facts = {**spec.provenance, **(manifest.read(run) if run is not None else {})}
    scores: Mapping[str, Mapping[str, Any]] = facts.get("scores") or {}
    name = str(facts.get("name") or "perpixel model")
    data = ModelCardData(
        library_name="perpixel",
        pipeline_tag="image-segmentation",
        tags=["semantic-segmentation", _word(spec.nodes["model"])],
        model_name=name,
        eval_results=[
            EvalResult(
                task_type="image-segmentation",
                dataset_type="perpixel",
                dataset_name=f"the run's {split} split",
                dataset_revision=(facts.get("data") or {}).get(split),
                dataset_split=split,
                metric_type="mean_iou",
                metric_value=found["mIoU"],
            )
            for split, found in scores.items()
            if found.get("mIoU") is not None
        ]
        or None,
    )
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        name=name,
        spec=spec,
        words={part: _word(spec.nodes[part]) for part in ("model", "decoder")},
        encoder=spec.nodes["encoder"].get("name"),
        facts=facts,
        scores=scores,
        summary=_summary(scores),
        per_class={split: _per_class(spec, found) for split, found in scores.items()},
        command=" ".join(str(part) for part in facts.get("command") or ()),
        exports=dict(exports or {}),
        missing="*No facts: to be filled in by whoever publishes the model.*",
    )
    return str(card.content)


def _word(node: Mapping[str, Any]) -> str:
    return str(node.get("_target_", "")).rpartition(".")[2]


def _summary(scores: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    return [
        (title, [_number(found.get(key)) for found in scores.values()])
        for key, title in SCORES.items()
        if any(key in found for found in scores.values())
    ]


def _per_class(spec: ModelSpec, found: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    return [(name, [_number(found.get(f"{key}/{name}")) for key in PER_CLASS]) for name in spec.labels.names]


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.4f}"
