"""Compares runs: figures, pairs, and differences between the recipes."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ageflax.errors import InputError
from ageflax.report import published, run_folder
from ageflax.report.comparison import pairs, runs
from ageflax.report.comparison.runs import Compared
from ageflax.runtime.files import Json

# Settings without influence on a run's figures.
_NO_RECIPE = ("data.dir", "data.manual_dir", "data.placement", "data.workers", "data.memory_share",
              "fold", "folds")  # fmt: skip


def compare(
    workdirs: Sequence[Path], *, names: Sequence[str] | None = None, common: bool = False
) -> Json:
    """Compares runs over the same test faces.

    A run with unfinished folds is compared over its finished ones; a run without any is listed with the
    reason.

    Args:
      workdirs: workdirs of two or more runs.
      names: names of the runs; None names them by their folders.
      common: True compares runs that differ in faces or label policy over the faces that both have with
        the same label; False refuses them.

    Returns:
      JSON: `dataset`, `label_policy` and `comparable` (with published figures); `runs` (name, model,
      folds, `missing` with reasons, parameters, speed, and summary.json's figures per task);
      `differences` (config key to its value in each run); and `questions` ("age", "years", "gender"; an
      "age" may be answered by one run's groups and another's years): `tasks` (run to its task),
      `published`, and `pairs` (see metrics.paired, with `holm_p`, p-values corrected over the pairs, and
      `statements`, each with `claimed`, true if the difference is significant).

    Raises:
      InputError: a folder holds no run or a damaged file; or runs differ in faces, labels or label
        policy.
      RunError: a predictions.csv is damaged.
    """
    with run_folder.damage_reported("one of the runs"):
        return _compared(workdirs, names, common=common)


def _compared(workdirs: Sequence[Path], names: Sequence[str] | None, *, common: bool) -> Json:
    entries = runs.read(workdirs, names)
    finished = [entry for entry in entries if entry.run]
    _check_data(finished, common=common)
    run = finished[0].run
    assert run is not None  # of the finished ones
    data, policy = run.summary["data"], run.summary["protocol"]["label_policy"]
    comparable = all(_is_comparable(entry) for entry in finished)
    questions = [
        {
            "name": name,
            "tasks": {entries[place].name: task for place, task in tasks.items()},
            "pairs": pairs.compare(entries, tasks, common=common),
            "published": [dataclasses.asdict(f) for f in published.of_task(name) if comparable],
        }
        for name, tasks in _questions(entries).items()
    ]
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
    """Raises InputError if datasets, label policies or classes differ."""

    def check_same(what: str, values: Sequence[str], remedy: str) -> None:
        if len(set(values)) > 1:
            each = ", ".join(
                f"{entry.name} {value}" for entry, value in zip(finished, values, strict=True)
            )
            raise InputError(f"the runs have different {what}: {each}{remedy}")

    summaries = [entry.run.summary for entry in finished if entry.run]
    names = [summary["data"]["name"] for summary in summaries]
    if common:
        check_same("datasets", [name.split("/")[0] for name in names], "")
    else:
        remedy = "; --common compares the faces that all have"
        check_same("datasets", names, remedy)
        policies = [summary["protocol"]["label_policy"] for summary in summaries]
        check_same("label policies", policies, remedy)
    for task in ("age", "years"):
        classes = [list(e.tasks[task]["per_class"]) for e in finished if task in e.tasks]
        if any(one != classes[0] for one in classes):
            raise InputError(
                f"the runs have different classes of {task}, so their accuracies cannot be compared:"
                f" {' and '.join(sorted({', '.join(names) for names in classes}))}"
            )


def _questions(entries: Sequence[Compared]) -> dict[str, dict[int, str]]:
    """Maps each question to the task of each run (by place) that answers it.

    If some runs have age groups and others only years, both answer "age": years add up to groups.
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


def differences(settings: Sequence[Json]) -> dict[str, list[Any]]:
    """Config keys that differ between the runs, with each run's value; None if not set.

    A run that never started has no config and no differences.
    """
    flat = [run_folder.flat(values) for values in settings]
    keys = dict.fromkeys(key for values in flat for key in values if key not in _NO_RECIPE)
    known = [values for values in flat if values]
    return {
        key: [values.get(key) for values in flat]
        for key in keys
        if any(values.get(key) != known[0].get(key) for values in known)
    }
