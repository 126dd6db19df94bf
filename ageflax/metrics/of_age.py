"""Is this person of age? Errors of rules that pass a face as adult or challenge it, by threshold."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ageflax import labels
from ageflax.metrics.answers import Answers
from ageflax.metrics.bootstrap import intervals
from ageflax.metrics.classification import check_numbers, ratio
from ageflax.metrics.years import ADULT
from ageflax.runtime.files import Json

# Probabilities of being under age below which a face passes, and estimated ages from which it does: in
# NIST's "Challenge T", who is estimated below T, an age above the legal one, is asked for a document.
PROBABILITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
BUFFER_AGES = tuple(range(ADULT, 36))
# First and last completed year of the groups. The hard ones are just below and above the age. A label
# that is a range often fits into none of these, but lies wholly on one side.
NEAR = {"13-17": (13, 17), "18-24": (18, 24), "25-30": (25, 30)}
SIDES = {f"under {ADULT}": (0, ADULT - 1), f"{ADULT} and over": (ADULT, math.inf)}
# Thresholds of the short table.
SHOWN = {"probability": (0.5, 0.2, 0.1, 0.05, 0.02), "challenge": (18, 21, 25, 30)}
_GROUPS = NEAR | SIDES
_LEVEL = 0.95


def under(probabilities: np.ndarray, age: int) -> np.ndarray:
    """Probability of having completed fewer than `age` years, float64[n].

    The share of the years below `age`: year k lasts from a person's birthday k to the next, as labels
    count them. `ages` spreads year k over k +- 1/2, so that the median is age - 1/2 where this is 1/2.

    Args:
      probabilities: float[n, years], distribution over years from 0.
      age: whole years.
    """
    shares = probabilities.astype(np.float64)
    return shares[:, :age].sum(1) / np.maximum(shares.sum(1), 1e-30)


def of_age(
    ages: np.ndarray,
    estimated: np.ndarray,
    minor: np.ndarray | None,
    *,
    genders: np.ndarray | None,
    subjects: np.ndarray,
) -> Json:
    """Errors of two rules that pass a face as 18 or older, or challenge it, at several thresholds.

    `challenge` passes a face whose estimated age is T or more, `probability` one whose probability of
    being under 18 is below p. A minor who passes is a false adult, an adult who is challenged a false
    minor; with T above 18, that is the price of the buffer. A face belongs to a group if its label lies
    wholly in it.

    Args:
      ages: float[n, 2], youngest and oldest age of the label, equal if it is one age; NaN if unknown.
      estimated: float[n], estimated ages in years.
      minor: float[n], probability of being under 18; None for a head without a distribution over years.
      genders: int[n], index among labels.GENDERS, negative if unknown; None if none is known.
      subjects: str or int[n], subject of each face.

    Returns:
      JSON: `age`, 18; `faces`, those wholly on one side of it; `log_loss` of the probability on them,
      nats, and `log_loss_floor`, that of the best constant; `thresholds` per rule; `level`, `resamples`
      and `seed` of the intervals; and `groups`: "all", "female" or "male" to a group of ages to `faces`,
      `persons` and per rule `share`, that of false adults or of false minors at each threshold, and
      `intervals`, [low, high] each. Groups without a face are absent.

    Raises:
      InputError: an estimate or a probability is not finite.

    References: Hanaoka et al., Face Analysis Technology Evaluation: Age Estimation and Verification,
      NIST IR 8525, 2024.
    """
    first, last = np.floor(ages.astype(np.float64).T)
    within = {name: (first >= low) & (last <= high) for name, (low, high) in _GROUPS.items()}
    young, grown = (within[name] for name in SIDES)
    known = young | grown
    check_numbers(estimated[known], "estimated ages")
    thresholds: dict[str, tuple[float, ...]] = {"challenge": BUFFER_AGES}
    passed = {"challenge": estimated[:, None] >= BUFFER_AGES}
    if minor is not None:
        check_numbers(minor[known], "probabilities")
        thresholds["probability"] = PROBABILITIES
        passed["probability"] = minor[:, None] < PROBABILITIES
    people = {"all": np.ones(len(ages), bool)}
    if genders is not None:
        people |= {name: genders == k for k, name in enumerate(labels.GENDERS)}
    groups: dict[str, dict[str, Json]] = {}
    how: Json = {}
    for who, members in people.items():
        for name, mask in within.items():
            rows = np.flatnonzero(members & mask)
            if len(rows):
                is_minor = _GROUPS[name][0] < ADULT
                wrong = {rule: table[rows] == is_minor for rule, table in passed.items()}
                groups.setdefault(who, {})[name], how = _group(wrong, subjects[rows])
    true = young[known]
    return {
        "age": ADULT,
        "faces": len(true),
        "log_loss": None if minor is None else _log_loss(true, minor[known]),
        "log_loss_floor": _log_loss(true, np.full(len(true), true.sum() / max(len(true), 1))),
        "thresholds": {rule: list(values) for rule, values in thresholds.items()},
        **how,
        "groups": groups,
    }


def of_answers(given: Answers) -> Json | None:
    """`of_age` of answers; None if no age in years is known."""
    if given.years_true is None or given.years_predicted is None:
        return None
    return of_age(
        np.stack([given.years_true, given.years_true], axis=1),
        given.years_predicted,
        given.minor,
        genders=given.genders,
        subjects=given.subjects,
    )


def _log_loss(true: np.ndarray, probability: np.ndarray) -> float | None:
    """Mean negative log-likelihood, nats."""
    likely = np.clip(np.where(true, probability, 1 - probability), 1e-12, 1.0)
    return ratio(-np.log(likely).sum(), len(true))


def _group(wrong: Mapping[str, np.ndarray], subjects: np.ndarray) -> tuple[Json, Json]:
    """Figures of one group from bool[n, thresholds] per rule; and how its intervals were drawn."""
    columns = {f"{rule} {k}": w for rule, table in wrong.items() for k, w in enumerate(table.T)}
    drawn = intervals(subjects, columns, level=_LEVEL)
    persons = drawn["persons"]
    found: Json = {"faces": len(subjects), "persons": persons}
    for rule, table in wrong.items():
        shares = table.mean(0)
        ends = [drawn[f"{rule} {k}"] for k in range(len(shares))]
        found[rule] = {
            "share": shares.tolist(),
            "intervals": [_ends(s, e, persons) for s, e in zip(shares, ends, strict=True)],
        }
    return found, {key: drawn[key] for key in ("level", "resamples", "seed")}


def _ends(share: float, ends: list[float | None], persons: int) -> list[float | None]:
    """A bootstrap's interval; where no person errs, or all do, that of Clopper and Pearson.

    Resamples of people who are all right are all right too, and would make a certainty of a few.
    """
    if 0 < share < 1:
        return ends
    unseen = 1 - ((1 - _LEVEL) / 2) ** (1 / persons)
    return [0.0, unseen] if share == 0 else [1 - unseen, 1.0]


def shortened(figures: Mapping[str, Any]) -> Json:
    """The result of `of_age` at the thresholds of the short table alone; errors as in `table`."""
    kept = {
        rule: [k for k, threshold in enumerate(thresholds) if threshold in SHOWN[rule]]
        for rule, thresholds in figures["thresholds"].items()
    }

    def group(held: Mapping[str, Any]) -> Json:
        rules = {
            rule: {key: [values[k] for k in places] for key, values in held[rule].items()}
            for rule, places in kept.items()
        }
        return {**held, **rules}

    thresholds = {rule: [figures["thresholds"][rule][k] for k in kept[rule]] for rule in kept}
    groups = {
        who: {name: group(held) for name, held in groups.items()}
        for who, groups in figures["groups"].items()
    }
    return {**figures, "thresholds": thresholds, "groups": groups}


def table(figures: Mapping[str, Any], who: str | None = None) -> list[list[str]]:
    """Rates as a table of text, its header first: percent with intervals, and the number of faces.

    Groups of SIDES are columns only for lack of others.

    Args:
      figures: result of `of_age`.
      who: "all", "female" or "male" for their rates at every threshold; None for those of all at a few,
        with the false adults by gender beside them.

    Raises:
      ArithmeticError, AttributeError, LookupError, TypeError, ValueError: figures of another form.
    """
    groups = figures["groups"]
    everyone = groups.get("all", {})
    shown = [name for name in NEAR if name in everyone] or [n for n in SIDES if n in everyone]
    places = [(who or "all", name) for name in shown]
    if who is None and shown and _GROUPS[shown[0]][0] < ADULT:
        places[1:1] = [(gender, shown[0]) for gender in labels.GENDERS]
    places = [(people, name) for people, name in places if name in groups.get(people, {})]
    header, faces = [f"{ADULT} or older?"], ["faces"]
    for people, name in places:
        said = f"{name} {'passed' if _GROUPS[name][0] < ADULT else 'challenged'}, %"
        header.append(said if people in (who, "all") else people)
        faces.append(f"{int(groups[people][name]['faces']):,}")
    rows = [header, faces]
    for rule, chosen in SHOWN.items():
        for k, threshold in enumerate(figures["thresholds"].get(rule, ())):
            if who is None and threshold not in chosen:
                continue
            cells = [f"age >= {float(threshold):g}"]
            if rule == "probability":
                cells = [f"P(under {ADULT}) < {100 * float(threshold):g} %"]
            for people, name in places:
                held = groups[people][name][rule]
                cells.append(f"{100 * float(held['share'][k]):.1f}")
                low, high = held["intervals"][k]
                if people in (who, "all") and low is not None:
                    cells[-1] += f" [{100 * float(low):.1f}, {100 * float(high):.1f}]"
            rows.append(cells)
    return rows
