"""What is measured when a split is scored for the record, and how much of it is kept in memory."""

from __future__ import annotations

import pytest
import torch

from perpixel import evaluation
from perpixel.bundle import Predictor
from perpixel.config import compose
from perpixel.evaluation import Evaluator, Spatial, score
from perpixel.labels import LabelSpace
from perpixel.metrics import Calibration, ErrorPlaces, ImageCounts, PixelMetric, SegmentationMetrics, SpatialMetrics
from perpixel.spec import NODES, ModelSpec, Normalise
from perpixel.training.module import Scores
from perpixel.training.scoring import final_values
from perpixel.workflows.assembly import build_evaluators, evaluation_faults
from perpixel.workflows.evaluate import class_map

SPACE = LabelSpace(("a", "b", "c"), ((0, 0, 0),) * 3)
METRICS = (SegmentationMetrics, SpatialMetrics, Calibration, ErrorPlaces)


def test_settings_reach_the_metrics() -> None:
    spatial = Spatial(dilation_ratio=0.05, tolerance=0.01, thin_width=9, small_area=7).metric(SPACE)
    assert (spatial.dilation_ratio, spatial.tolerance, spatial.thin_width, spatial.small_area) == (0.05, 0.01, 9, 7)
    assert evaluation.Calibration(bins=4).metric(SPACE).bins == 4


def test_each_can_be_left_out_and_the_choice_none_leaves_out_all() -> None:
    (only,) = build_evaluators(
        compose(["evaluation.spatial=null", "evaluation.images=null", "evaluation.errors=null"]).cfg.evaluation
    )
    assert only == evaluation.Calibration()
    assert build_evaluators(compose(["evaluation=none"]).cfg.evaluation) == []


def test_yaml_and_code_have_the_same_defaults() -> None:
    assert build_evaluators(compose([]).cfg.evaluation) == [
        Spatial(),
        evaluation.Calibration(),
        evaluation.ImageCounts(),
        evaluation.ErrorPlaces(),
    ]


def test_faults_are_found_before_a_command_starts_each_with_its_key() -> None:
    wrong = ["evaluation.spatial.small_area=1", "evaluation.calibration.bins=0"]
    found = evaluation_faults(compose(wrong).cfg.evaluation)
    assert found == [
        "evaluation.spatial.small_area=1: give 2 or more.",
        "evaluation.calibration.bins=0: give 1 or more (15 is usual).",
    ]
    (kind,) = evaluation_faults({"mine": {"_target_": "perpixel.losses.Dice"}})
    assert "evaluation.mine._target_" in kind
    (key,) = evaluation_faults({"spatial": {"_target_": "perpixel.evaluation.Spatial", "width": 3}})
    assert "evaluation.spatial.width" in key


class Brightness(Evaluator):
    """What a user's own evaluator looks like."""

    def metric(self, labels: LabelSpace) -> PixelMetric:
        return SegmentationMetrics(labels)


def test_one_pass_feeds_every_evaluator() -> None:
    spec = ModelSpec({name: {} for name in NODES}, SPACE, Normalise((0.0,) * 3, (1.0,) * 3), 3, 1, (4, 4))
    passes: list[int] = []

    def backend(images: torch.Tensor) -> torch.Tensor:
        passes.append(len(images))
        return images

    images = torch.randint(0, 256, (4, 3, 6, 7), dtype=torch.uint8)
    target = images.argmax(1)
    batches = [{"image": images[i : i + 2], "mask": target[i : i + 2], "name": ["a", "b"]} for i in (0, 2)]
    found = dict(score(Predictor(backend, spec), batches, [Brightness(), Spatial(), evaluation.Calibration()]))
    assert passes == [2, 2]
    assert found["pixel_accuracy"] > 0.99  # where two channels tie either may win
    assert {"confusion", "ECE", "mBoundaryIoU", "reliability"} <= set(found)


def test_classes_agree_by_name() -> None:
    model = LabelSpace(("sky", "road", "car"), ((0, 0, 0),) * 3)
    permuted = class_map(LabelSpace(("car", "sky"), ((0, 0, 0),) * 2, ignore_index=9), model)
    assert permuted(torch.tensor([[0, 1, 9, 4]])).tolist() == [[2, 0, 255, -1]]
    same = class_map(model, model)
    assert same(torch.tensor([1, 255])).tolist() == [1, 255]
    with pytest.raises(ValueError, match="classes that the model does not have: tree"):
        class_map(LabelSpace(("sky", "tree"), ((0, 0, 0),) * 2), model)


@pytest.mark.parametrize("kind", METRICS)
def test_memory_does_not_grow_with_the_number_of_images(kind: type[PixelMetric]) -> None:
    metric = kind(SPACE)

    def held() -> list[torch.Size]:
        return [value.shape for value in vars(metric).values() if isinstance(value, torch.Tensor)]

    def update() -> None:
        size = tuple(torch.randint(5, 12, (2,)).tolist())
        metric.update(torch.randn(2, 3, *size), torch.randint(0, 3, (2, *size)), ["one", "two"])

    update()
    before = held()
    for _ in range(20):
        update()
    assert held() == before
    assert not [name for name, value in vars(metric).items() if isinstance(value, list) and len(value) > 10]


@pytest.mark.parametrize("kind", [*METRICS, ImageCounts])
def test_impossible_targets_name_value_count_and_sample(kind: type[PixelMetric]) -> None:
    target = torch.zeros(3, 6, 6, dtype=torch.int64)
    target[1, 0, :4], target[1, 5, 5], target[2, 2, 2], target[0, 3] = 7, -2, 9, 255
    with pytest.raises(ValueError, match=r"value -2 \(1 pixels\), 7 \(4 pixels\) in 'berlin'; 9 \(1 pixels\) in 'ulm'"):
        kind(SPACE).update(torch.randn(3, 3, 6, 6), target, ["bonn", "berlin", "ulm"])
    with pytest.raises(ValueError, match="in sample 1 of the batch"):
        kind(SPACE).update(torch.randn(3, 3, 6, 6), target.to(torch.uint8))


@pytest.mark.parametrize("kind", [*METRICS, ImageCounts])
@pytest.mark.parametrize("channels", [2, 5])
def test_logits_of_other_classes_are_refused(kind: type[PixelMetric], channels: int) -> None:
    with pytest.raises(ValueError, match=f"logits of {channels} channels .* for 3 classes"):
        kind(SPACE).update(torch.randn(2, channels, 6, 6), torch.zeros(2, 6, 6, dtype=torch.int64))


@pytest.mark.parametrize("kind", [SegmentationMetrics, SpatialMetrics, ImageCounts])
@pytest.mark.parametrize("value", [7, -1])
def test_predicted_labels_that_are_no_class_are_refused(kind: type[PixelMetric], value: int) -> None:
    prediction = torch.zeros(2, 6, 6, dtype=torch.int64)
    prediction[1, 3] = value
    with pytest.raises(ValueError, match=f"prediction holds the value {value}, but there are 3 classes"):
        kind(SPACE).update(prediction, torch.zeros(2, 6, 6, dtype=torch.int64))


def test_every_final_score_that_is_defined_reaches_the_loggers() -> None:
    val = Scores({"mIoU": 0.5, "mBoundaryIoU": 0.25, "IoU/a": float("nan"), "ECE": 0.125}, {"absent": ["a"]})
    assert final_values({"val": val, "test": Scores({"mIoU": 0.0}, {})}) == {
        "final/val/mIoU": 0.5,
        "final/val/mBoundaryIoU": 0.25,
        "final/val/ECE": 0.125,
        "final/test/mIoU": 0.0,
    }


def test_an_error_does_not_list_a_whole_data_set() -> None:
    with pytest.raises(ValueError, match=r"in 's4' and in 3 more samples, but"):
        SpatialMetrics(SPACE).update(
            torch.zeros(8, 2, 2, dtype=torch.int64), torch.full((8, 2, 2), 3), [f"s{index}" for index in range(8)]
        )
