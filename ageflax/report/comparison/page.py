"""The page of a comparison: several runs over the same faces, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ageflax.report import breakdown, curves, provenance, svg, wording
from ageflax.report import figures as tables
from ageflax.report.figures import EXACT, MAE, ONE_OFF, Figure
from ageflax.report.rendering import render

_TITLES = {"age": "Age groups", "years": "Age in years", "gender": "Gender"}
_RECALL = Figure("recall", "Recall", "recall", "%")

Comparison = Mapping[str, Any]
Row = Mapping[str, Any]  # a run in the comparison's JSON


def _forest(pairs: Sequence[Mapping[str, Any]]) -> list[dict[str, float] | None]:
    """Each pair's interval of exact accuracy in percent of a shared axis; None if unknown."""
    entries = [pair.get("exact") for pair in pairs]
    values: list[tuple[float, ...] | None] = [
        None if entry is None or entry["interval"][0] is None
        else (*entry["interval"], entry["difference"])
        for entry in entries
    ]  # fmt: skip
    reach = max((abs(value) for drawn in values if drawn for value in drawn), default=0.0) or 1.0

    def places(drawn: tuple[float, ...]) -> dict[str, float]:
        low, high, point = (50 + 48 * value / reach for value in drawn)
        return {"left": low, "width": high - low, "point": point}

    return [places(drawn) if drawn else None for drawn in values]


def _groups(runs: Sequence[Row], tasks: Mapping[str, str]) -> list[dict[str, Any]]:
    """Tables of one question by gender, age group and age in years, a bar for each run."""
    asked = [
        (run["name"], run["tasks"][tasks[run["name"]]]) for run in runs if run["name"] in tasks
    ]

    def by(grouping: str) -> list[breakdown.Groups]:
        return [(figures.get("groups") or {}).get(grouping) or {} for _, figures in asked]

    own = "age group" if any("one_off" in figures for _, figures in asked) else "gender"
    found = []
    for name, figure, groups in (
        ("gender", EXACT, by("gender")),
        ("gender", MAE, by("gender")),
        ("age group", EXACT, by("age")),
        (own, _RECALL, [figures["per_class"] for _, figures in asked]),
        ("age in years", MAE, [breakdown.bands(figures) for _, figures in asked]),
    ):
        columns = [(run, figure, held) for (run, _), held in zip(asked, groups, strict=True)]
        found.append(breakdown.table(f"{name}, {figure.heading}", columns))
    return [table for table in found if table]


def _logs(
    runs: Sequence[Row], workdirs: Sequence[Path], tasks: Mapping[str, str], name: str
) -> list[curves.Log]:
    """Logs of all folds; keys of a run's task are renamed to the question's."""
    logs = []
    for place, (run, workdir) in enumerate(zip(runs, workdirs, strict=True)):
        task = tasks.get(run["name"])
        for fold in run["folds"] if task is not None else []:
            records = curves.read_log(workdir / f"fold_{fold}" / "metrics.jsonl")
            renamed = [
                {k.replace(f"validation_{task}_", f"validation_{name}_"): v for k, v in r.items()}
                for r in records
            ]
            logs.append(curves.Log(place, renamed))
    return logs


def _curves(comparison: Comparison, workdirs: Sequence[Path]) -> list[svg.Drawing]:
    """Validation figures of every question, then the training loss if all runs share it."""
    runs, found = comparison["runs"], []
    for question in comparison["questions"]:
        name, tasks = question["name"], question["tasks"]
        first = next(run["tasks"][tasks[run["name"]]] for run in runs if run["name"] in tasks)
        floors = {name: first["majority_floor"]["mean"]}
        found += curves.learning_curves(_logs(runs, workdirs, tasks, name), floors, loss=False)
    if not any(key == "task" or key.startswith("loss.") for key in comparison["differences"]):
        everything = _logs(runs, workdirs, {run["name"]: "" for run in runs}, "")
        found += curves.learning_curves(everything, {}, loss=True)
    return found


def _question(comparison: Comparison, question: Mapping[str, Any]) -> dict[str, Any]:
    runs, tasks, pairs = comparison["runs"], question["tasks"], question["pairs"]
    answering = [(run, run["tasks"][tasks[run["name"]]]) for run in runs if run["name"] in tasks]
    columns = tables.known(*(figures for _, figures in answering))
    return {
        "title": _TITLES[question["name"]],
        "tasks": tasks,
        "mixed": len(set(tasks.values())) > 1,
        "columns": columns,
        "published": question["published"],
        "shares": [figure for figure in columns if figure in (EXACT, ONE_OFF)],
        "own": [
            {
                "method": f"{run['name']}, {wording.counted(len(run['folds']), 'fold')}",
                "figures": figures,
            }
            for run, figures in answering
        ],
        "pairs": list(zip(pairs, _forest(pairs), strict=True)),
        "has": [
            figure for figure in (EXACT, ONE_OFF, MAE)
            if any(pair.get(figure.key, {}).get("difference") is not None for pair in pairs)
        ],
        # One-off stands in the table: two sentences per pair are enough.
        "statements": [
            said for pair in pairs for said in pair["statements"] if said["figure"] != "one_off"
        ],
        "groups": _groups(runs, tasks),
    }  # fmt: skip


def _notices(comparison: Comparison) -> list[str]:
    """Warnings to read before the figures: subjects, missing folds with reasons, leaks, crops."""
    said = provenance.subjects(comparison["dataset"])
    for run in comparison["runs"]:
        reasons: dict[str, list[str]] = {}
        for fold, why in run["missing"].items():
            reasons.setdefault(why, []).append(fold)
        for why, folds in reasons.items():
            said.append(
                f"{run['name']}: {'fold' if len(folds) == 1 else 'folds'} {wording.listed(folds)}"
                f" missing: {wording.without_folders(why)}"
            )
        if run.get("leaks"):
            chosen = run["protocol"]["checkpoint"] == "best"
            said.append(
                f"{run['name']}: validation leaks: some of its subjects are in the training set too"
                f"{', and it chose the tested checkpoint' if chosen else ''}."
            )
    crops = {run["name"]: run["protocol"]["crops"] for run in comparison["runs"] if run["folds"]}
    if len(set(crops.values())) > 1:
        each = wording.listed(f"{name} {word}" for name, word in crops.items())
        said.append(f"The runs average over different test crops: {each}.")
    return said


def write(comparison: Comparison, workdirs: Sequence[Path], path: Path) -> None:
    """Writes a comparison as one self-contained page.

    Args:
      comparison: result of ageflax.report.comparison.compare.
      workdirs: the runs' workdirs, in the same order; their logs are drawn.
      path: page to write.
    """
    runs, dataset = comparison["runs"], comparison["dataset"]
    finished = [(place, run) for place, run in enumerate(runs) if run["folds"]]
    values = {
        "title": f"{wording.listed(run['name'] for run in runs)} on {dataset['name']}",
        "protocol": provenance.policy_name(comparison["label_policy"]),
        "notices": _notices(comparison),
        "runs": runs,
        "questions": [_question(comparison, question) for question in comparison["questions"]],
        "comparable": comparison["comparable"],
        "common": comparison["common"],
        "several": any(len(question["pairs"]) > 1 for question in comparison["questions"]),
        "marks": [(place, run["name"]) for place, run in finished],
        "curves": _curves(comparison, workdirs),
        "drawn_by": wording.drawn_by(dataset),
        "differences": comparison["differences"],
        "licence": dataset["licence"],
        "version": finished[0][1]["versions"].get("ageflax", ""),
    }
    render("comparison.html.jinja", path, values)
