"""A run's protocol, warnings and command in words."""

import shlex
from typing import Any

from ageflax.report import wording
from ageflax.report.run_folder import Run

_POLICIES = {
    "strict": "strict: the eight age groups as labelled; all other labels dropped",
    "mivolo": "mivolo: stray labels mapped to groups as in MiVOLO's public code",
    "nearest": "nearest: every age mapped to the group with the nearest range",
}
_PROTOCOLS = {
    "cross_validation": "five-fold cross-validation: four folds train, the fifth is tested",
    "hold_out": "hold-out: folds 0 to 2 train, 3 validates, 4 is tested",
}
_VALIDATION = {
    "subject": "whole subjects held out of the training folds",
    "image_leaky": "single images held out of the training folds, with subjects on both sides",
    "none": "none",
}
_CROPS = {
    "center": "the centre crop",
    "mirror": "the centre crop and its mirror, probabilities averaged",
    "ten": "ten crops (corners, centre, their mirrors), probabilities averaged",
    "scales": "centre crop, whole image, a closer crop and their mirrors, probabilities averaged",
}
_CHECKPOINTS = {"last": "last", "best": "best on the validation faces"}


def notices(run: Run) -> list[str]:
    """Warnings to read before the figures."""
    return [
        *_absent_folds(run),
        *subjects(run.summary["data"]),
        *_leaks(run),
        *_unreadable(run),
        *_not_learned(run),
    ]


def subjects(data: dict[str, Any]) -> list[str]:
    """Warning of a dataset in which people may be in two folds."""
    notice: str = data.get("subjects", {}).get("notice", "")
    return [f"{notice[:1].upper()}{notice[1:]}."] if notice else []


def _absent_folds(run: Run) -> list[str]:
    absent = [k for k in range(5) if k not in run.folds]
    if run.hold_out or not absent:
        return []
    return [
        f"{len(run.folds)} of 5 folds finished: {wording.listed(run.folds)} (missing:"
        f" {wording.listed(absent)}). These are not yet the figures of a five-fold cross-validation."
    ]


def _leaks(run: Run) -> list[str]:
    leaks = [(r["fold"], r["protocol"]["validation_persons_in_training"]) for r in run.results]
    counts = [f"{subjects:,} in fold {fold}" for fold, subjects in leaks if subjects]
    if not counts:
        return []
    chosen = run.summary["protocol"]["checkpoint"] == "best"
    return [
        "Validation leaks: some of its subjects are in the training set too"
        f" ({wording.listed(counts)}). Its figures are too high and say nothing about new people"
        f"{'; they also chose the tested checkpoint' if chosen else ''}."
        f"{'' if subjects(run.summary['data']) else ' The test folds share no subject with training.'}"
    ]


def _unreadable(run: Run) -> list[str]:
    count = sum(result["faces"]["test_unreadable"] for result in run.results)
    return [f"Unreadable test images, not counted: {count:,}."] if count else []


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
    """A label policy, explained."""
    return _POLICIES.get(policy, policy)


def protocol_name(run: Run) -> str:
    """A run's protocol, explained: training folds and test folds."""
    name: str = run.summary["protocol"]["name"]
    return _PROTOCOLS.get(name, name)


def _validation(run: Run) -> str:
    if run.hold_out:
        return "fold 3"
    mode: str = run.summary["protocol"]["validation"]
    words = _VALIDATION.get(mode, mode)
    if mode == "subject" and wording.drawn_by(run.summary["data"]) == "face":
        words = "faces held out of the training folds, whoever they are of"
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
    words = _CHECKPOINTS.get(word, word)
    steps = sorted({result["tested_step"] for result in run.results})
    return f"{words}; step {wording.listed(f'{step:,}' for step in steps)}" if steps else words


def _weights(run: Run) -> str:
    weights = run.config.get("weights")
    if not weights:
        return "random"
    if not weights["sha256"]:
        return f"{weights['source']}: a file for each fold"
    at = f", revision {weights['revision']}" if weights.get("revision") else ""
    return f"{weights['source']}{at}, sha256 {weights['sha256'][:16]}"


def protocol(run: Run) -> list[tuple[str, str]]:
    """Rows of the protocol box."""
    summary, rules, data = run.summary, run.summary["protocol"], run.summary["data"]
    crops: str = rules["crops"]
    versions = [f"{name} {version}" for name, version in run.config.get("versions", {}).items()]
    time, folds = wording.duration(summary["seconds"]), wording.counted(len(run.folds), "fold")
    return [
        ("Dataset", f"{data['name']}, {data['faces']:,} faces"),
        ("Edition", data["edition"] or "not recorded"),
        ("Fingerprint of the labels", data["fingerprint"]),
        ("Label policy", policy_name(rules["label_policy"])),
        ("Faces left out", _left_out(data)),
        ("Initial weights", _weights(run)),
        ("Protocol", protocol_name(run)),
        ("Validation", _validation(run)),
        ("Input", f"stretched to {rules['resize']} × {rules['resize']} pixels,"
                  f" cropped to {rules['crop']} × {rules['crop']}"),
        ("Test crops", _CROPS.get(crops, crops)),
        *[("Estimated age", "median of the distribution over years")] * (rules.get("age") == "median"),
        ("Tested checkpoint", _checkpoint(run)),
        ("Wall time", f"{time} for {folds}"),
        ("Devices", wording.devices(run.config.get("devices", {}), "not recorded")),
        ("Versions", ", ".join(versions) or "not recorded"),
    ]  # fmt: skip


def command(run: Run) -> str:
    """The run's command line without the folders of absolute paths."""
    words = [wording.without_folders(word) for word in run.config.get("command", [])]
    if words and words[0] == "main.py":
        words[:1] = ["python", "-m", "ageflax.main"]
    return shlex.join(words)
