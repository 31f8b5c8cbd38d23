"""Detectors: what is unusual, each kind in one file with its settings, all listed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tocsin.assess.detectors.capacity import Capacity, CapacityConfig
from tocsin.assess.detectors.change_point import ChangePoint, ChangePointConfig
from tocsin.assess.detectors.committee import Committee, CommitteeConfig
from tocsin.assess.detectors.correlation import Correlation, CorrelationConfig
from tocsin.assess.detectors.count_scan import CountScan, CountScanConfig
from tocsin.assess.detectors.cusum import Cusum, CusumConfig
from tocsin.assess.detectors.drift import Drift, DriftConfig
from tocsin.assess.detectors.ewma import Ewma, EwmaConfig
from tocsin.assess.detectors.forecast import Forecast, ForecastConfig
from tocsin.assess.detectors.heavy_hitter import HeavyHitter, HeavyHitterConfig
from tocsin.assess.detectors.iqr import Iqr, IqrConfig
from tocsin.assess.detectors.model_change import ModelChange, ModelChangeConfig
from tocsin.assess.detectors.no_data import NoData, NoDataConfig
from tocsin.assess.detectors.pace_shift import PaceShift, PaceShiftConfig
from tocsin.assess.detectors.relative_change import RelativeChange, RelativeChangeConfig
from tocsin.assess.detectors.rolling_level import RollingLevel, RollingLevelConfig
from tocsin.assess.detectors.seasonal import Seasonal, SeasonalConfig
from tocsin.assess.detectors.static_threshold import StaticThreshold, StaticThresholdConfig
from tocsin.assess.detectors.sustained_breach import SustainedBreach, SustainedBreachConfig
from tocsin.assess.detectors.volume_drop import VolumeDrop, VolumeDropConfig
from tocsin.assess.detectors.western_electric import WesternElectric, WesternElectricConfig
from tocsin.assess.detectors.zscore import ZScore, ZScoreConfig
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.assess.window import Window
from tocsin.domain.findings import Verdict
from tocsin.domain.registry import Registry

__all__ = [
    "DETECTORS", "Capacity", "CapacityConfig", "ChangePoint", "ChangePointConfig", "Committee",
    "CommitteeConfig", "Correlation", "CorrelationConfig", "CountScan", "CountScanConfig", "Cusum",
    "CusumConfig", "Detector", "DetectorKind", "Drift", "DriftConfig", "Ewma", "EwmaConfig",
    "Forecast", "ForecastConfig", "HeavyHitter", "HeavyHitterConfig", "Iqr", "IqrConfig",
    "ModelChange", "ModelChangeConfig", "NoData", "NoDataConfig", "PaceShift", "PaceShiftConfig",
    "RelativeChange", "RelativeChangeConfig", "RollingLevel", "RollingLevelConfig", "Seasonal",
    "SeasonalConfig", "StaticThreshold", "StaticThresholdConfig", "SustainedBreach",
    "SustainedBreachConfig", "VolumeDrop", "VolumeDropConfig", "WesternElectric",
    "WesternElectricConfig", "ZScore", "ZScoreConfig",
]  # fmt: skip


class Detector(Protocol):
    """All monitors of one kind of detector, judged together."""

    def judge(self, window: Window, minute: int) -> list[Verdict]:
        """BREACH and UNKNOWN verdicts at `minute`; a monitor that is not named is OK."""
        ...


class DetectorKind(Protocol):
    """A kind of detector: its settings, and how to set up all monitors that use it."""

    @property
    def config(self) -> type[DetectorConfig]:
        """The frozen dataclass of its settings; YAML validation and reference come from it."""
        ...

    def __call__(self, monitors: Sequence[Monitor]) -> Detector:
        """Prepare `monitors`, whose methods are all of type `config`."""
        ...


DETECTORS: Registry[DetectorKind] = Registry("detector")
DETECTORS.add("count_scan", CountScan)
DETECTORS.add("pace_shift", PaceShift)
DETECTORS.add("sustained_breach", SustainedBreach)
DETECTORS.add("committee", Committee)
DETECTORS.add("static_threshold", StaticThreshold)
DETECTORS.add("volume_drop", VolumeDrop)
DETECTORS.add("no_data", NoData)
DETECTORS.add("zscore", ZScore)
DETECTORS.add("drift", Drift)
DETECTORS.add("model_change", ModelChange)
DETECTORS.add("correlation", Correlation)
DETECTORS.add("heavy_hitter", HeavyHitter)
DETECTORS.add("iqr", Iqr)
DETECTORS.add("rolling_level", RollingLevel)
DETECTORS.add("seasonal", Seasonal)
DETECTORS.add("relative_change", RelativeChange)
DETECTORS.add("ewma", Ewma)
DETECTORS.add("forecast", Forecast)
DETECTORS.add("capacity", Capacity)
DETECTORS.add("change_point", ChangePoint)
DETECTORS.add("cusum", Cusum)
DETECTORS.add("western_electric", WesternElectric)
