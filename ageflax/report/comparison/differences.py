"""Figures of several runs side by side, pairs of them, and what sets their recipes apart."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ageflax.errors import InputError
from ageflax.report import published
from ageflax.report import run_folder as record
from ageflax.report.comparison import pairs as pairs
from ageflax.report.comparison import runs as runs
from ageflax.report.comparison.runs import Compared

# Settings that change where or how fast a run computes, and not what.
_NO_RECIPE = ("data.dir", "data.manual_dir", "data.placement", "data.workers", "data.memory_share",
              "fold", "folds")  # fmt: skip


def compare(
    workdirs: Sequence[Path], *, names: Sequence[str] | None = None, common: bool = False
) -> dict[str, Any]:
    """Compares runs over the same test faces.

    A run whose folds are not all finished is compared over those it has; one without any is listed
    with the reason.

    Args:
      workdirs: of two or more runs.
      names: how they are called; without, as their folders.
      common: runs over other faces, or under another label policy, are compared over the faces that
        both have under the same label; without, they are refused.

    Returns:
      JSON: `dataset`, `label_policy` and `comparable` (whether published figures may stand beside
      these); `runs` (name, model, folds, `missing` with why, parameters, speed, and summary.json's
      figures per task); `differences` (config key to its value in each run); and `questions` ("age",
      "years", "gender"; an "age" may be answered by one run's groups and another's years): `tasks` (run
      to its task), `published`, and `pairs` (see metrics.paired, with `holm_p`, p-values corrected
      over the pairs, and `statements`, each with whether a difference is `claimed`).

    Raises:
      InputError: a folder holds no run, or a damaged record; or runs differ in faces, labels or label
        policy.
      RunError: a predictions.csv is damaged.
    """
    with record.believed("one of the runs"):
        return _compared(workdirs, names, common=common)


def _compared(
    workdirs: Sequence[Path], names: Sequence[str] | None, *, common: bool
) -> dict[str, Any]:
    entries = runs.read(workdirs, names)
    finished = [entry for entry in entries if entry.run]
    _check_data(finished, common=common)
    run = finished[0].run
    assert run is not None  # of the finished ones
    data, policy = run.summary["data"], run.summary["protocol"]["label_policy"]
    comparable = all(_is_comparable(entry) for entry in finished)
    questions = []
    for name, tasks in _questions(entries).items():
        questions.append(
            {
                "name": name,
                "tasks": {entries[place].name: task for place, task in tasks.items()},
                "pairs": pairs.compare(entries, tasks, common=common),
                "published": [
                    dataclasses.asdict(figure)
                    for figure in published.of_task("gender" if name == "gender" else "age")
                ]
                if comparable
                else [],
            }
        )
    return {
        "dataset": data,
        "label_policy": policy,
        "comparable": comparable,
        "common": common,
        "runs": [runs.described(entry) for entry in entries],
        "differences": differences([entry.config.get("config", {}) for entry in entries]),
        "questions": questions,
    }


def _is_comparable(entry: Compared) -> bool:
    assert entry.run is not None
    data, rules = entry.run.summary["data"], entry.run.summary["protocol"]
    return published.comparable(data["name"], data["edition"], rules["label_policy"])


def _check_data(finished: Sequence[Compared], *, common: bool) -> None:
    """Raises InputError where datasets, label policies or classes differ."""

    def told(values: Sequence[str], what: str, way_out: str) -> None:
        if len(set(values)) > 1:
            each = ", ".join(
                f"{entry.name} {value}" for entry, value in zip(finished, values, strict=True)
            )
            raise InputError(f"runs over different {what} do not compare: {each}{way_out}")

    records = [entry.run.summary for entry in finished if entry.run]
    names = [record["data"]["name"] for record in records]
    policies = [record["protocol"]["label_policy"] for record in records]
    if common:
        told([name.split("/")[0] for name in names], "datasets", "")
    else:
        way_out = "; --common compares the faces that all have"
        told(names, "datasets", way_out)
        told(policies, "label policies", way_out)
    for task in ("age", "years"):
        classes = [list(e.tasks[task]["per_class"]) for e in finished if task in e.tasks]
        if any(one != classes[0] for one in classes):
            raise InputError(
                f"the runs' classes of {task} differ, so their accuracies do not compare:"
                f" {' and '.join(sorted({', '.join(names) for names in classes}))}"
            )


def _questions(entries: Sequence[Compared]) -> dict[str, dict[int, str]]:
    """What at least two runs were asked, and which task of each run (by place) answers it.

    Where some runs have age groups and others years alone, both answer "age": years add up to groups.
    """
    having = {
        task: {place: task for place, entry in enumerate(entries) if task in entry.tasks}
        for task in ("age", "years", "gender")
    }
    if having["age"] and having["years"].keys() - having["age"].keys():
        having["age"] = having["years"] | having["age"]
    asked = {task: tasks for task, tasks in having.items() if tasks}
    if len(asked.get("years", {})) < 2 and "age" in asked:
        asked.pop("years", None)
    return asked


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def differences(settings: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Keys of the config that are not the same in all runs, and their values; null where not set.

    A run that was never begun has no config, and differs in nothing.
    """
    flat = [_flat(values) for values in settings]
    keys = dict.fromkeys(key for values in flat for key in values if key not in _NO_RECIPE)
    known = [values for values in flat if values]
    return {
        key: [values.get(key) for values in flat]
        for key in keys
        if any(values.get(key) != known[0].get(key) for values in known)
    }
