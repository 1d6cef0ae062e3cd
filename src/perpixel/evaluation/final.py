"""What is measured when a split is scored for the record: too costly for every validation, not for the last one."""

from __future__ import annotations

from perpixel.config.schema import EvaluationConfig
from perpixel.labels import LabelSpace
from perpixel.metrics import Calibration, PixelMetric, SpatialMetrics


def final_metrics(settings: EvaluationConfig, labels: LabelSpace) -> list[PixelMetric]:
    """The metrics that the settings ask for.

    Raises:
        ValueError: a setting is out of its range.
    """
    found: list[PixelMetric] = []
    try:
        if settings.spatial:
            found.append(
                SpatialMetrics(
                    labels,
                    dilation_ratio=settings.dilation_ratio,
                    tolerance=settings.boundary_tolerance,
                    thin_width=settings.thin_width,
                    small_area=settings.small_area,
                )
            )
        if settings.calibration:
            found.append(Calibration(labels, settings.calibration_bins))
    except ValueError as error:
        raise ValueError(f"evaluation: {error}") from None
    return found
