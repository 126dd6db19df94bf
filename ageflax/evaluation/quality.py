"""Fits a model's measure of quality to its errors on validation faces and on worse pictures of them."""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from ageflax.bundle.quality import FACTORS, Line, Quality, spreads, unusual_spread
from ageflax.evaluation.conditions import Change, Subjects, View

# Fewer faces with a label would not tell errors apart.
FEWEST = 50
# Relative error that a picture's factor must exceed; over a sixteenth of 400 faces, chance reaches it.
_CHANCE = 1.1
# Share of the faces as they are whose pictures are usual.
_USUAL = 0.95
# Knots of a line, and faces that the usual error of each is the mean of, as a share.
_KNOTS, _ALIKE = 16, 0.125


def _blurred(share: float) -> Change:
    return lambda image, k: cv2.GaussianBlur(image, (0, 0), share * len(image))


def _small(share: float) -> Change:
    def small(image: np.ndarray, k: int) -> np.ndarray:
        size, side = len(image), max(round(share * len(image)), 2)
        less = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        return cv2.resize(less, (size, size), interpolation=cv2.INTER_LINEAR)

    return small


def _lit(gain: float) -> Change:
    return lambda image, k: cv2.convertScaleAbs(image, alpha=gain)


def _grainy(std: float) -> Change:
    def grainy(image: np.ndarray, k: int) -> np.ndarray:
        noise = np.random.default_rng(k).normal(0.0, std, image.shape)
        return np.clip(image + noise, 0, 255).astype(np.uint8)

    return grainy


def _drawn(image: np.ndarray, k: int) -> np.ndarray:
    """A few flat colours, and black lines where it gets darker."""
    del k
    grey = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 5)
    block = max(len(image) // 16, 1) * 2 + 1
    lines = cv2.adaptiveThreshold(
        grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, block, 5
    )
    flat = cv2.bilateralFilter(image, 9, 75, 75) // 48 * 48 + 24
    return cv2.bitwise_and(flat, flat, mask=lines)


def _covered(top: float, bottom: float, left: float, right: float) -> Change:
    def covered(image: np.ndarray, k: int) -> np.ndarray:
        found, size = image.copy(), len(image)
        rows, columns = (slice(round(size * low), round(size * high))
                         for low, high in ((top, bottom), (left, right)))  # fmt: skip
        found[rows, columns] = 40 + 40 * (k % 5)
        return found

    return covered


# Worse pictures by the factor that they show; None for those that the answer alone betrays. Sizes are
# shares of the image's side; enlargement is not read off the image and is told apart.
WORSE: tuple[tuple[str | None, Change, dict[str, float]], ...] = (
    *(("blurred", _blurred(share), {}) for share in (0.02, 0.033, 0.053)),
    *(("small", _small(share), {"small": -float(np.log2(share))}) for share in (0.2, 0.133, 0.08)),
    *(("dark", _lit(gain), {}) for gain in (0.25, 0.1, 0.05)),
    *(("overexposed", _lit(gain), {}) for gain in (2.0, 3.0, 5.0)),
    *(("grainy", change, {}) for change in (_grainy(25.0), _grainy(60.0), _drawn)),
    *(
        (None, _covered(*part), {})
        for part in ((0.5, 1.0, 0.0, 1.0), (0.0, 1.0, 0.0, 0.5), (0.15, 0.4, 0.0, 1.0))
    ),
)


def _rising(places: np.ndarray, errors: np.ndarray, usual: np.ndarray) -> Line:
    """Relative error by place, which only rises: ratios of sums over equally many faces, pooled.

    References: Ayer et al., An empirical distribution function for sampling with incomplete information,
    1955 (pool adjacent violators).
    """

    def ratio(faces: np.ndarray) -> float:
        return float(errors[faces].sum() / max(usual[faces].sum(), 1e-9))

    order = np.argsort(places, kind="stable")
    knots = [
        (float(places[part].mean()), part) for part in np.array_split(order, _KNOTS) if len(part)
    ]
    pools: list[tuple[list[float], np.ndarray]] = []  # places, faces
    for place, part in knots:
        at = [place]
        while pools and (at[0] - pools[-1][0][-1] < 1e-3 or ratio(part) <= ratio(pools[-1][1])):
            before, faces = pools.pop()
            at, part = before + at, np.concatenate([faces, part])
        pools.append((at, part))
    return _line({place: max(ratio(part), 0.01) for at, part in pools for place in at})


def _line(knots: Mapping[float, float]) -> Line:
    """Line through knots, without those between equal ones."""
    values = list(knots.values())
    around = zip([None, *values], values, [*values[1:], None], strict=False)
    kept = [not before == value == after for before, value, after in around]
    pairs = [pair for pair, keep in zip(knots.items(), kept, strict=True) if keep]
    at, values = zip(*pairs, strict=True)
    return Line(at, values)


def _clear(line: Line, usual: np.ndarray) -> Line:
    """The line, 1 where usual pictures lie, and where its increase may be chance.

    Pictures of dark skin or of smooth skin are not therefore worse.

    Args:
      line: relative error by a picture's factor.
      usual: the factor of the faces as they are.
    """
    most = np.quantile(usual, _USUAL)
    pairs = zip(line.at, line.values, strict=True)
    return _line({at: value if at > most and value > _CHANCE else 1.0 for at, value in pairs})


def _alike(order_by: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Mean error of the faces that are most alike by a label, such as the age."""
    order, count = np.argsort(order_by, kind="stable"), len(errors)
    half = max(round(count * _ALIKE / 2), 10)
    sums = np.concatenate([[0.0], np.cumsum(errors[order])])
    low = np.clip(np.arange(count) - half, 0, None)
    high = np.clip(np.arange(count) + half + 1, None, count)
    found = np.empty(count)
    found[order] = (sums[high] - sums[low]) / (high - low)
    return found


def _usual(answers: np.ndarray, spread: np.ndarray) -> Line:
    """Median spread by answer."""
    knots: dict[float, float] = {}
    for part in np.array_split(np.argsort(answers, kind="stable"), 10):
        if len(part):
            place = round(float(np.median(answers[part])), 4)
            knots[place] = max(float(np.median(spread[part])), 1e-4)
    return Line(tuple(knots), tuple(knots.values()))


def _label(figure: str, subjects: Subjects) -> np.ndarray:
    """Label of every face of the dataset by which faces are alike, for a figure of errors."""
    if figure == "years":
        return subjects.faces.ages
    if figure == "gender":
        return subjects.faces.genders
    return next(each.classes for task, each in subjects.targets.items() if task != "gender")


def fit(
    subjects: Subjects, clean: View, answered: Sequence[View], worse: Mapping[str, Sequence[View]]
) -> Quality | None:
    """Fits the lines of all factors; None if too few faces have a label.

    Args:
      subjects: faces of all views.
      clean: the faces as they are.
      answered: views whose answers alone count.
      worse: views that show each of the factors read off a picture.
    """
    errors = subjects.errors(clean)
    figure = next((name for name in ("years", "age_group", "gender") if name in errors), None)
    known = ~np.isnan(errors[figure]) if figure else np.zeros(0, bool)
    if figure is None or known.sum() < FEWEST:
        return None
    rows = clean.predictions.rows[known]
    usual = _alike(_label(figure, subjects)[rows], errors[figure][known])

    def line(changed: Sequence[View], value: Callable[[View], np.ndarray]) -> Line:
        # Half of all pictures are as they should be: else sharp faces would count as noisy ones.
        views = [clean] * len(changed) + [*changed]
        values = [value(view)[known] for view in views]
        errors = [subjects.errors(view)[figure][known] for view in views]
        return _rising(np.concatenate(values), np.concatenate(errors), np.tile(usual, len(views)))

    def read(factor: str) -> Callable[[View], np.ndarray]:
        return lambda view: np.array([each[factor] for each in view.factors])

    lines = {
        name: _clear(line(views, read(name)), read(name)(clean)) for name, views in worse.items()
    }
    usually = spreads(clean.predictions.probabilities, subjects.targets)
    spread = usually and _usual(*usually)
    if spread is not None:

        def unusual(view: View) -> np.ndarray:
            told = spreads(view.predictions.probabilities, subjects.targets)
            assert told is not None  # as those of the clean view
            return unusual_spread(spread, *told)

        everything = [*answered, *itertools.chain.from_iterable(worse.values())]
        found = line(everything, unusual)
        # 1 on average of the faces as they are: a weak model's spread says little about any picture.
        own = max(found(unusual(clean)[known]).mean(), 1e-9)
        lines["unusual"] = Line(found.at, tuple(max(float(v / own), 0.01) for v in found.values))
    return Quality(int(known.sum()), spread, {k: lines[k] for k in FACTORS if k in lines})


def measure(subjects: Subjects, framings: Sequence[View]) -> Quality | None:
    """Shows worse pictures of the faces to the model, and fits its measure of quality to the errors.

    Args:
      subjects: faces, and the model.
      framings: views of them under conditions.FRAMINGS.
    """
    if len(subjects.rows) < FEWEST:
        return None
    clean = subjects.under(lambda image, k: image, factors=True)
    answered, worse = list(framings), collections.defaultdict(list)
    for factor, change, told in WORSE:
        view = subjects.under(change, factors=factor is not None)
        if factor is None:
            answered.append(view)
            continue
        read = tuple({**each, **told} for each in view.factors)
        worse[factor].append(dataclasses.replace(view, factors=read))
    return fit(subjects, clean, answered, worse)
