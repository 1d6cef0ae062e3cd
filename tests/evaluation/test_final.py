"""What is measured when a split is scored for the record, and how much of it is kept in memory."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from perpixel.config import ConfigError, compose
from perpixel.config.schema import EvaluationConfig, RescoringConfig
from perpixel.evaluation import final_metrics
from perpixel.labels import LabelSpace
from perpixel.metrics import Calibration, PixelMetric, SegmentationMetrics, SpatialMetrics
from perpixel.training.module import Scores
from perpixel.training.scoring import final_values

SPACE = LabelSpace(("a", "b", "c"), ((0, 0, 0),) * 3)
METRICS = (SegmentationMetrics, SpatialMetrics, Calibration)


def test_settings_reach_the_metrics() -> None:
    settings = EvaluationConfig(
        dilation_ratio=0.05, boundary_tolerance=0.01, thin_width=9, small_area=7, calibration_bins=4
    )
    spatial, calibration = final_metrics(settings, SPACE)
    assert isinstance(spatial, SpatialMetrics)
    assert (spatial.dilation_ratio, spatial.tolerance, spatial.thin_width, spatial.small_area) == (0.05, 0.01, 9, 7)
    assert isinstance(calibration, Calibration)
    assert calibration.bins == 4


def test_each_can_be_left_out() -> None:
    (only,) = final_metrics(EvaluationConfig(spatial=False), SPACE)
    assert isinstance(only, Calibration)
    (only,) = final_metrics(EvaluationConfig(calibration=False), SPACE)
    assert isinstance(only, SpatialMetrics)


def test_a_setting_out_of_range_is_named_with_its_key() -> None:
    with pytest.raises(ValueError, match=r"evaluation: thin_width=1: give 2 or more"):
        final_metrics(EvaluationConfig(thin_width=1), SPACE)


def test_a_setting_out_of_range_stops_a_command_before_it_starts() -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.small_area=1: give 2 or more") as error:
        compose(["evaluation.small_area=1", "evaluation.calibration_bins=0"])
    assert "evaluation.calibration_bins=0: give 1 or more" in str(error.value)


def test_the_keys_are_the_same_for_train_and_evaluate() -> None:
    assert [field.name for field in fields(RescoringConfig)] == [field.name for field in fields(EvaluationConfig)]
    assert OmegaConf.to_container(compose([]).cfg.evaluation) == asdict(EvaluationConfig())
    asked: Any = OmegaConf.to_container(compose(["run=r"], "evaluate").cfg.evaluation)
    assert set(asked.values()) == {None}


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


@pytest.mark.parametrize("kind", METRICS)
def test_impossible_targets_name_value_count_and_sample(kind: type[PixelMetric]) -> None:
    target = torch.zeros(3, 6, 6, dtype=torch.int64)
    target[1, 0, :4], target[1, 5, 5], target[2, 2, 2], target[0, 3] = 7, -2, 9, 255
    with pytest.raises(ValueError, match=r"value -2 \(1 pixels\), 7 \(4 pixels\) in 'berlin'; 9 \(1 pixels\) in 'ulm'"):
        kind(SPACE).update(torch.randn(3, 3, 6, 6), target, ["bonn", "berlin", "ulm"])
    with pytest.raises(ValueError, match="in sample 1 of the batch"):
        kind(SPACE).update(torch.randn(3, 3, 6, 6), target.to(torch.uint8))


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("channels", [2, 5])
def test_logits_of_other_classes_are_refused(kind: type[PixelMetric], channels: int) -> None:
    with pytest.raises(ValueError, match=f"logits of {channels} channels .* for 3 classes"):
        kind(SPACE).update(torch.randn(2, channels, 6, 6), torch.zeros(2, 6, 6, dtype=torch.int64))


@pytest.mark.parametrize("kind", [SegmentationMetrics, SpatialMetrics])
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
