"""How a run came by its figures, in words."""

import shlex
from typing import Any

from ageflax.report import wording as wording
from ageflax.report.run_folder import Run

_POLICIES = {
    "strict": "strict: the eight labels as they stand, every other one dropped",
    "mivolo": "mivolo: stray labels mapped to groups as MiVOLO's public code does",
    "nearest": "nearest: every age to the group whose range lies nearest",
}
_PROTOCOLS = {
    "cross_validation": "five-fold cross-validation: four folds train, the fifth is tested",
    "hold_out": "hold-out: folds 0 to 2 train, 3 validates, 4 is tested",
}
_VALIDATION = {
    "subject": "whole persons held out of the training folds",
    "image_leaky": "single images held out of the training folds, persons on both sides",
    "none": "none",
}
_CROPS = {
    "center": "the centre crop",
    "mirror": "the centre crop and its mirror, probabilities averaged",
    "ten": "ten crops (corners, centre, their mirrors), probabilities averaged",
}


def notices(run: Run) -> list[str]:
    """What a reader must know before the figures."""
    return [*_absent_folds(run), *_leaks(run), *_unreadable(run), *_not_learned(run)]


def _absent_folds(run: Run) -> list[str]:
    absent = [k for k in range(5) if k not in run.folds]
    if run.hold_out or not absent:
        return []
    one = len(run.folds) == 1
    done = f"{'Fold' if one else 'Folds'} {wording.listed(run.folds)} of 5 {'is' if one else 'are'} done"
    lacking = f"{wording.listed(absent)} {'is' if len(absent) == 1 else 'are'} not"
    return [f"{done}, {lacking}: these figures are not those of a five-fold cross-validation yet."]


def _leaks(run: Run) -> list[str]:
    leaks = {r["fold"]: r["protocol"]["validation_persons_in_training"] for r in run.results}
    leaks = {fold: persons for fold, persons in leaks.items() if persons}
    if not leaks:
        return []
    counts = wording.listed(f"{persons:,} in fold {fold}" for fold, persons in leaks.items())
    chosen = run.summary["protocol"]["checkpoint"] == "best"
    consequence = "; they also chose the checkpoint that was tested" if chosen else ""
    return [
        f"Validation leaks: persons it holds are in the training set too ({counts}). Its figures are"
        f" too high and say nothing about new people{consequence}. The test folds share no person"
        " with training."
    ]


def _unreadable(run: Run) -> list[str]:
    count = sum(result["faces"]["test_unreadable"] for result in run.results)
    return [f"Test images that could not be read and are not counted: {count:,}."] if count else []


def _not_learned(run: Run) -> list[str]:
    found = []
    for task, figures in run.summary["tasks"].items():
        exact, floor = figures["exact"]["mean"], figures["majority_floor"]["mean"]
        if exact is not None and floor is not None and exact <= floor:
            found.append(
                f"{task.capitalize()}: {100 * exact:.1f} % exact is no better than the best constant"
                f" answer, {100 * floor:.1f} %. This model has not learned the task."
            )
    return found


def policy_name(policy: str) -> str:
    """How labels became classes."""
    return _POLICIES.get(policy, policy)


def protocol_name(run: Run) -> str:
    """Which folds train and which are tested."""
    name: str = run.summary["protocol"]["name"]
    return _PROTOCOLS.get(name, name)


def _validation(run: Run) -> str:
    if run.hold_out:
        return "fold 3"
    mode: str = run.summary["protocol"]["validation"]
    words = _VALIDATION.get(mode, mode)
    fraction = run.settings.get("data", {}).get("validation_fraction")
    if mode == "none" or fraction is None:
        return words
    return f"{words} ({100 * fraction:g} % of the faces)"


def _left_out(data: dict[str, Any]) -> str:
    text = f"{data['without_label']:,} without a usable label, {data['unreadable']:,} unreadable"
    if "not_frontal" in data:
        text += f", {data['not_frontal']:,} not among the most frontal"
    return text


def _checkpoint(run: Run) -> str:
    word: str = run.summary["protocol"]["checkpoint"]
    words = {"last": "the last one", "best": "the best on the validation faces"}.get(word, word)
    steps = sorted({result["tested_step"] for result in run.results})
    return f"{words}; step {wording.listed(f'{step:,}' for step in steps)}" if steps else words


def _weights(run: Run) -> str:
    weights = run.config.get("weights")
    if not weights:
        return "drawn at random"
    if not weights["sha256"]:
        return f"{weights['source']}: of each fold its own"
    at = f", revision {weights['revision']}" if weights.get("revision") else ""
    return f"{weights['source']}{at}, sha256 {weights['sha256'][:16]}"


def protocol(run: Run) -> list[tuple[str, str]]:
    """Rows of the protocol box that hold for the whole run."""
    summary, rules, data = run.summary, run.summary["protocol"], run.summary["data"]
    policy: str = rules["label_policy"]
    crops: str = rules["crops"]
    devices = [f"{count} × {kind}" for kind, count in run.config.get("devices", {}).items()]
    versions = [f"{name} {version}" for name, version in run.config.get("versions", {}).items()]
    return [
        ("Dataset", f"{data['name']}, {data['faces']:,} faces"),
        ("Edition", data["edition"] or "not recorded"),
        ("Fingerprint of the labels", data["fingerprint"]),
        ("Label policy", policy_name(policy)),
        ("Faces left out", _left_out(data)),
        ("Weights at first", _weights(run)),
        ("Protocol", protocol_name(run)),
        ("Validation", _validation(run)),
        ("Input", f"stretched to {rules['resize']} × {rules['resize']} pixels,"
                  f" cropped to {rules['crop']} × {rules['crop']}"),
        ("Crops tested", _CROPS.get(crops, crops)),
        ("Checkpoint tested", _checkpoint(run)),
        ("Wall time", f"{wording.duration(summary['seconds'])} for {len(run.folds)} fold"
                      f"{'s' * (len(run.folds) > 1)}"),
        ("Devices", wording.listed(devices) if devices else "not recorded"),
        ("Versions", ", ".join(versions) or "not recorded"),
    ]  # fmt: skip


def fold_rows(run: Run) -> list[dict[str, str]]:
    """Counts and speed of each fold."""
    return [
        {
            "fold": str(result["fold"]),
            "train": f"{result['faces']['train']:,}",
            "validation": f"{result['faces']['validation']:,}",
            "test": f"{result['faces']['test']:,}",
            "steps": f"{result['steps']:,}",
            "rate": wording.number(result["images_per_second"]),
            "time": wording.duration(result["seconds"]),
        }
        for result in run.results
    ]


def settings(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Every key of the config as it is set on the command line, and its value."""
    rows = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += settings(value, f"{prefix}{key}.")
        else:
            rows.append((prefix + key, wording.without_folders(str(value))))
    return rows


def command(run: Run) -> str:
    """The command as it was typed, less the folders of absolute paths."""
    words = [wording.without_folders(word) for word in run.config.get("command", [])]
    if words and words[0] == "main.py":
        words[:1] = ["python", "-m", "ageflax.main"]
    return shlex.join(words)
