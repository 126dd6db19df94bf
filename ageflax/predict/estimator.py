"""Estimation of age and gender from aligned faces."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from ageflax import labels, metrics
from ageflax.bundle.age_intervals import usable
from ageflax.bundle.loading import open_model
from ageflax.bundle.model import Answer as ModelAnswer
from ageflax.bundle.model import Model
from ageflax.bundle.quality import Quality, spreads, unusual_spread
from ageflax.config import CROPS
from ageflax.errors import InputError, RunError, first_line
from ageflax.predict.alignment import Framing
from ageflax.predict.engine import choose, onnxruntime_answer, tell
from ageflax.predict.face import AgeInterval, Answer
from ageflax.runtime import progress

# Sizes of JAX's batches, which are padded: the model compiles at most three times.
BATCHES = (1, 8, 32)


def batches(count: int) -> Iterator[tuple[int, int]]:
    """Yields (faces, size) of each batch; at least half of a batch is faces."""
    while count:
        fitting = (size for size in BATCHES if count <= size <= 2 * count)
        size = next(fitting, max(size for size in BATCHES if size <= count))
        yield min(count, size), size
        count -= min(count, size)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A model's estimate for one face; see Face."""

    age_group: Answer | None
    age: float | None
    age_deviation: float | None
    gender: Answer | None
    features: np.ndarray | None = None
    under: dict[int, float] = dataclasses.field(default_factory=dict)
    age_intervals: tuple[AgeInterval, ...] = ()
    quality: tuple[float, str | None] | None = None


def _named(names: Sequence[str], values: np.ndarray) -> Answer:
    return Answer.of(dict(zip(names, values.tolist(), strict=True)))


class Estimator:
    """A model for any number of detected faces; safe to use from several threads.

    Args:
      model, crops, calibrated, interval, under, quick, engine, say: see Predictor.

    Attributes:
      model: the opened model.
      engine: "jax" or "onnxruntime", by which the network is run; features are always JAX's.
      description: description of the model.
      framing: alignment of faces for the model.
      calibrated: True if probabilities are scaled by the model's own temperatures.
      crops: views of a face that are averaged.
      under: ages of Estimate.under.
      quality: measure of a picture's quality; None if the model carries none, or is several.
      interval: level of Face.age_interval; None if there is none.
      no_intervals: line that says why there is none though one is wanted; else empty.

    Raises:
      InputError: the model cannot be loaded, or does not support the options.
    """

    def __init__(
        self,
        model: str | Path | Model,
        *,
        crops: str | None = None,
        calibrated: bool = False,
        interval: float | None = None,
        under: int | Sequence[int] = (),
        quick: bool = False,
        engine: str = "auto",
        say: Callable[[str], None] = progress.say,
    ):
        self.model = model if isinstance(model, Model) else open_model(model)
        self.engine = choose(engine, self.model, quick=quick)
        self._on_choice = functools.partial(tell, say) if engine == "auto" else lambda: None
        self.description = description = self.model.description
        self.framing = Framing.of(description)
        self.calibrated = calibrated
        self._temperatures = self._calibration() if calibrated else {}
        self.crops = self._crops(crops)
        self.under = self._ages((under,) if isinstance(under, int) else tuple(under))
        self._intervals, self.no_intervals = (
            usable(self.model, self.crops) if interval else (None, "")
        )
        self.interval = self._level(interval) if interval and self._intervals else None
        self._quick, self._answers = quick, dict[bool, ModelAnswer]()
        self._classes = {task: description.classes(task) for task in description.heads}
        self._groups = labels.group_names(description.intervals)
        self.quality = description.quality if len(self.model.members) == 1 else None

    def _crops(self, asked: str | None) -> str:
        if self.model.is_onnx:
            if asked is not None:
                raise InputError(
                    f"--crops={asked}: {self.model.name} has its crop built in; leave out the option"
                )
            return self.model.crops
        crops = asked or self.model.description.protocol.get("crops") or "center"
        if crops not in CROPS:
            raise InputError(f"--crops={crops}: expected {', '.join(CROPS)}")
        return crops

    def _level(self, interval: float) -> float:
        assert self._intervals is not None
        levels = self._intervals.conformal.levels
        if interval not in levels:
            given = ", ".join(f"{level:g}" for level in levels)
            raise InputError(f"--interval={interval:g}: {self.model.name} has {given}; 0 for none")
        return interval

    def _ages(self, under: tuple[int, ...]) -> tuple[int, ...]:
        """Ages of `under`, checked."""
        for age in under:
            if age not in range(1, 101):
                raise InputError(f"--under={age}: expected whole years, 1 to 100")
        if under and not self.description.tells_years:
            raise InputError(
                f"--under={under[0]}: {self.model.name} gives no distribution over years; leave out the"
                " option, or name a model trained for years with such a loss"
            )
        return tuple(dict.fromkeys(map(int, under)))

    def _calibration(self) -> dict[str, float]:
        """Temperature per task."""
        description = self.model.description
        if len(self.model.members) > 1:
            raise InputError(
                f"--calibrated: the models of {self.model.name} were calibrated one by one; name one"
                " fold"
            )
        given = {k: float(v) for k, v in description.calibration.items() if v is not None}
        if missing := [task for task in description.heads if task not in given]:
            raise InputError(
                f"--calibrated: {self.model.name} has no temperature for {', '.join(missing)}, as its"
                " run had no validation faces; leave out the option"
            )
        return given

    def answer(self, *, features: bool = False) -> ModelAnswer:
        """The model's forward pass, made ready at its first use; see Model.answer."""
        if features not in self._answers:
            if self.engine == "jax" or self.model.is_onnx or features:
                made = self.model.answer(crops=self.crops, quick=self._quick, features=features)
            else:
                made = onnxruntime_answer(self.model, self.crops)
                self._on_choice()
            self._answers[features] = made
        return self._answers[features]

    def _batches(self, count: int, *, features: bool) -> Iterator[tuple[int, int]]:
        """Yields (faces, size) of each batch."""
        if self.engine == "jax" or features:
            return batches(count)
        most = BATCHES[-1]
        sizes = (min(count - at, most) for at in range(0, count, most))
        return ((size, size) for size in sizes)

    def __call__(
        self,
        crops: np.ndarray,
        *,
        features: bool = False,
        factors: Sequence[Mapping[str, float]] = (),
    ) -> list[Estimate]:
        """Estimates age and gender of faces.

        Args:
          crops: uint8[n, size, size, 3], RGB, aligned by `framing`.
          features: True to give the features too; see Model.answer.
          factors: factors of each picture's quality; none for estimates without quality.

        Raises:
          InputError: the model gives no features.
          RunError: probabilities are not finite, or the device fails.
        """
        answer = self.answer(features=features)
        if not len(crops):
            return []
        parts, start = [], 0
        for count, size in self._batches(len(crops), features=features):
            shown = crops[start : start + count]
            if size > count:
                shown = np.concatenate(
                    [shown, np.zeros((size - count, *shown.shape[1:]), np.uint8)]
                )
            try:
                given = jax.device_get(answer(shown))
            except jax.errors.JaxRuntimeError as error:
                raise RunError(f"the device failed: {first_line(error)}") from error
            parts.append({task: values[:count] for task, values in given.items()})
            start += count
        joined = {task: np.concatenate([part[task] for part in parts]) for task in parts[0]}
        for task, values in joined.items():
            if not np.isfinite(values).all():
                raise RunError(
                    f"{self.model.name}: probabilities for {task} are not finite; its weights are"
                    " damaged"
                )
        trunk = joined.pop("features", None)
        found = self._estimates(joined, len(crops), trunk)
        if self.quality is None or not factors:
            return found
        qualities = self._qualities(self.quality, joined, factors)
        return [
            dataclasses.replace(one, quality=own) for one, own in zip(found, qualities, strict=True)
        ]

    def _qualities(
        self,
        quality: Quality,
        probabilities: dict[str, np.ndarray],
        factors: Sequence[Mapping[str, float]],
    ) -> list[tuple[float, str | None]]:
        """Quality of each picture, and its reason."""
        spread = spreads(probabilities, self._classes)
        if spread is None or quality.usual is None:
            return [quality(each) for each in factors]
        unusual = unusual_spread(quality.usual, *spread).tolist()
        pairs = zip(factors, unusual, strict=True)
        return [quality({**each, "unusual": value}) for each, value in pairs]

    def _estimates(
        self, probabilities: dict[str, np.ndarray], count: int, features: np.ndarray | None
    ) -> list[Estimate]:
        scaled = probabilities
        if self.calibrated:
            scaled = {
                task: metrics.tempered(values, self._temperatures[task])
                for task, values in probabilities.items()
            }
        # Years preferably from the head for years, groups from the head for groups.
        aged = next((task for task in ("years", "age") if task in probabilities), None)
        grouped = next((task for task in ("age", "years") if task in probabilities), None)
        ages = metrics.ages(probabilities[aged], self._classes[aged]) if aged else None
        groups = None
        if grouped is not None:
            groups = metrics.ages(scaled[grouped], self._classes[grouped]).groups
        genders = scaled.get("gender")
        spans = None
        if self._intervals is not None and aged and ages:
            spans = self._intervals.conformal.intervals(
                probabilities[aged], ages.years, self._classes[aged]
            )
        under = {age: metrics.under(probabilities["years"], age) for age in self.under}
        return [
            Estimate(
                None if groups is None else _named(self._groups, groups[k]),
                None if ages is None else float(ages.years[k]),
                None if ages is None or ages.std is None else float(ages.std[k]),
                None if genders is None else _named(self._classes["gender"].names, genders[k]),
                None if features is None else features[k],
                {age: float(values[k]) for age, values in under.items()},
                () if spans is None else self._named_intervals(spans[k]),
            )
            for k in range(count)
        ]

    def _named_intervals(self, spans: np.ndarray) -> tuple[AgeInterval, ...]:
        """Intervals at each level, from int[levels, 2]."""
        assert self._intervals is not None
        levels = self._intervals.conformal.levels
        return tuple(
            AgeInterval(level, low, high)
            for level, (low, high) in zip(levels, spans.tolist(), strict=True)
        )
