"""Protocol of a test: its faces, their classes, and the views per face."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ageflax import labels
from ageflax.bundle.model import Model
from ageflax.config import CROPS
from ageflax.data import pixel_cache, reading, subjects
from ageflax.data.building import find
from ageflax.data.dataset import Faces, StoredDataset, Target
from ageflax.data.selection import measurable, select
from ageflax.errors import InputError
from ageflax.evaluation import unseen
from ageflax.evaluation.settings import Settings
from ageflax.runtime.progress import Progress

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Trial:
    """Everything that defines a test.

    Attributes:
      model: model or models to test.
      stored: dataset on disk.
      faces: labels of the dataset.
      plan: models and the folds they are tested on.
      policy: label policy.
      most_frontal: number of faces kept by their score; 0 for all.
      crops: views per face.
      age_reading: point of the distribution over years that is the estimated age.
      targets: classes per head.
      age_groups: age groups of the model, for the figures of gender.
      usable: bool[n], faces that count.
      left_out: number of the other faces by reason.
    """

    model: Model
    stored: StoredDataset
    faces: Faces
    plan: unseen.Plan
    policy: str
    most_frontal: int
    crops: str
    age_reading: str
    targets: dict[str, Target]
    age_groups: Target
    usable: np.ndarray
    left_out: dict[str, int]

    @property
    def decoding(self) -> reading.Decoding:
        """Decoding of the model's input."""
        spec = self.model.description.input
        return reading.Decoding(spec.resize, spec.interpolation)

    def rows(self, folds: Sequence[int]) -> np.ndarray:
        """Rows of some folds that count, ascending."""
        return np.flatnonzero(self.usable & np.isin(self.faces.folds, folds))

    @property
    def labelled(self) -> dict[str, Target]:
        """Classes of the heads that can be measured: some tested face has a label."""
        rows = self.rows(self.plan.folds)
        return {
            task: target for task, target in self.targets.items() if measurable(target)[rows].any()
        }


def _policy(model: Model, given: str | None) -> str:
    """Label policy: the given one, else that of the model's training."""
    own = model.description.intervals != labels.ADIENCE
    policy = given or model.description.protocol.get("label_policy")
    if policy not in labels.LABEL_POLICIES:
        policy = "intervals" if own else "strict"
    if own and policy in ("strict", "mivolo"):
        names = ", ".join(labels.group_names(model.description.intervals))
        raise InputError(
            f"data.label_policy = {policy!r} needs Adience's eight groups, but the model's are {names};"
            " set it to nearest or intervals"
        )
    return policy


def _crops(model: Model, given: str | None, say: Say) -> str:
    """Views per face: the given ones, else those of the model's own test."""
    if not model.is_onnx:
        own = model.description.protocol.get("crops")
        return given or (own if own in CROPS else "center")
    inside = model.crops
    named = "its centre crop" if inside == "center" else f"its crops={inside}"
    if given not in (None, inside):
        raise InputError(
            f"eval.crops = {given!r}: the .onnx file has {named} built in; test the bundle, or export it"
            f" with --crops={given}"
        )
    own = model.description.protocol.get("crops")
    if own not in (None, inside):
        say(f"the .onnx file has {named} built in; its bundle was tested with crops={own}")
    return inside


def _reading(model: Model, given: str | None) -> str:
    """Point of the distribution over years: the given one, else the model's own."""
    if given == "median" and not model.description.tells_years:
        raise InputError(
            "eval.age = 'median': the model has no distribution over years; leave it out"
        )
    return given or model.description.reading


def _labels(stored: StoredDataset, given: Settings, say: Say) -> Faces:
    with Progress(len(stored), unit="face", label=f"labels of {stored.name}") as progress:
        if given.prepared:
            return pixel_cache.load(stored, None, progress=progress.update, say=say).faces
        return reading.load(stored, None, progress=progress.update).faces


def _dataset_name(model: Model, given: str | None) -> str:
    """The given dataset, else the one that the model was trained on."""
    name = given or model.description.data.get("name")
    if not isinstance(name, str) or not name:
        raise InputError(
            "the model does not say what it was trained on; name a dataset: --config.data.name=NAME"
        )
    return name if given else unseen.without_version(name)


def prepare(model: Model, given: Settings, say: Say) -> Trial:
    """Opens the dataset, building it if absent, and selects the faces to test.

    Args:
      model: model or models to test.
      given: dataset and protocol, if other than the model's own.
      say: function that prints a line.

    Raises:
      InputError: the dataset cannot be opened, the model has seen the faces, a setting does not fit the
        model, or no face has a label to test by.
    """
    policy, crops = _policy(model, given.label_policy), _crops(model, given.crops, say)
    stored = find.open_dataset(
        _dataset_name(model, given.name),
        directory=given.directory,
        manual_dir=given.manual_dir,
        rebuild=given.rebuild,
        say=say,
    )
    faces = _labels(stored, given, say)
    descriptions = [member.description for member in model.members]
    plan = unseen.plan(descriptions, stored.name, faces.fingerprint, given.folds)
    frontal = given.most_frontal
    if frontal is None:
        frontal = model.description.protocol.get("most_frontal") or 0 if plan.own else 0
    heads, intervals = model.heads, model.description.intervals
    age_reading = _reading(model, given.age)
    selected = select(
        faces, heads, policy=policy, intervals=intervals, reading=age_reading, frontal=frontal
    )
    if not selected.usable.any():
        named = " or ".join(heads)
        by = f" under data.label_policy={policy}; nearest takes any age or range"
        raise InputError(
            f"no face of {stored.name} has a label for {named}{by if set(heads) - {'gender'} else ''}"
        )
    usable = selected.usable
    counts = {fold: int((usable & (faces.folds == fold)).sum()) for fold in plan.folds}
    empty = [fold for fold, count in counts.items() if not count]
    if len(empty) == len(counts) or (given.folds and empty):
        raise InputError(f"fold {empty[0]} of {stored.name} has no face with a label to test")
    return Trial(
        model,
        stored,
        faces,
        plan,
        policy,
        frontal,
        crops,
        age_reading,
        age_groups=faces.target("age", policy=policy, intervals=intervals),
        **vars(selected),
    )


def tell(trial: Trial, say: Say) -> None:
    """Prints what a reader of the figures should know."""
    for notice in trial.plan.notices:
        say(notice)
    if notice := subjects.described(trial.stored.metadata, trial.faces)["notice"]:
        say(f"{trial.stored.name}: {notice}")
    for task in trial.targets:
        if task not in trial.labelled:
            say(f"no tested face of {trial.stored.name} has a label for {task}: it has no figures")
    if count := trial.left_out["without_label"]:
        say(
            f"{count} of {len(trial.faces)} faces have no usable label"
            f" (data.label_policy={trial.policy}) and are left out"
        )
    if trial.most_frontal:
        say(f"of the others, the {trial.most_frontal} with the highest face_score are kept")
