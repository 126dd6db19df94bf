"""What a model is tested on, and how: which faces, in which classes, seen in which way."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ageflax import labels
from ageflax.bundle.model import Model
from ageflax.data import pixel_cache, reading
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
    """What is tested, and how.

    Attributes:
      model: the model or models.
      stored: the dataset.
      faces: its labels.
      plan: who is tested on which folds.
      policy: of labels.
      most_frontal: faces kept by their score; 0 is all.
      crops: views a face.
      targets: classes per head.
      age_groups: the model's age groups, by which figures of gender are given too.
      usable: bool[n], faces that count.
      left_out: how many do not, by reason.
    """

    model: Model
    stored: StoredDataset
    faces: Faces
    plan: unseen.Plan
    policy: str
    most_frontal: int
    crops: str
    targets: dict[str, Target]
    age_groups: Target
    usable: np.ndarray
    left_out: dict[str, int]

    @property
    def decoding(self) -> reading.Decoding:
        """The model's own."""
        spec = self.model.description.input
        return reading.Decoding(spec.resize, spec.interpolation)

    def rows(self, folds: Sequence[int]) -> np.ndarray:
        """Those of some folds that count, ascending."""
        return np.flatnonzero(self.usable & np.isin(self.faces.folds, folds))

    @property
    def labelled(self) -> dict[str, Target]:
        """Heads for which some tested face has a label: those that can be measured."""
        rows = self.rows(self.plan.folds)
        return {
            task: target for task, target in self.targets.items() if measurable(target)[rows].any()
        }


def _policy(model: Model, given: str | None) -> str:
    """The label policy: as given, else that of the model's training."""
    own = model.description.intervals != labels.ADIENCE
    policy = given or model.description.protocol.get("label_policy")
    if policy not in labels.LABEL_POLICIES:
        policy = "intervals" if own else "strict"
    if own and policy in ("strict", "mivolo"):
        names = ", ".join(labels.group_names(model.description.intervals))
        raise InputError(
            f"data.label_policy = {policy!r} is of Adience's eight groups, and the model's are {names};"
            " set it to nearest or intervals"
        )
    return policy


def _crops(model: Model, given: str | None, say: Say) -> str:
    """Views a face: as given, else those of the model's own test."""
    if not model.is_onnx:
        own = model.description.protocol.get("crops")
        return given or (own if own in ("center", "mirror", "ten") else "center")
    inside = model.crops
    named = "its centre crop" if inside == "center" else f"its {inside} crops"
    if given not in (None, inside):
        raise InputError(
            f"eval.crops = {given!r}: an .onnx file has {named} inside; test the bundle, or export it"
            f" with --crops={given}"
        )
    own = model.description.protocol.get("crops")
    if own not in (None, inside):
        say(f"an .onnx file has {named} inside; its bundle was tested with crops={own}")
    return inside


def _labels(stored: StoredDataset, given: Settings, say: Say) -> Faces:
    with Progress(len(stored), unit="face", label=f"labels of {stored.name}") as progress:
        if given.prepared:
            return pixel_cache.load(stored, None, progress=progress.update, say=say).faces
        return reading.load(stored, None, progress=progress.update).faces


def _dataset_name(model: Model, given: str | None) -> str:
    """As given, else of the data that the model was trained on."""
    name = given or model.description.data.get("name")
    if not isinstance(name, str) or not name:
        raise InputError(
            "the model does not say what it was trained on: name a dataset, --config.data.name=NAME"
        )
    return name if given else unseen.without_version(name)


def prepare(model: Model, given: Settings, say: Say) -> Trial:
    """Opens (or builds) the dataset, and settles what of it is tested and how.

    Args:
      model: the model or models.
      given: dataset and protocol, where they are not to be the model's own.
      say: takes lines for the user.

    Raises:
      InputError: the dataset cannot be opened, the model has seen what is asked for, a setting does not
        fit the model, or there is no label to test by.
    """
    policy, crops = _policy(model, given.label_policy), _crops(model, given.crops, say)
    stored = find.open_dataset(
        _dataset_name(model, given.name),
        directory=given.directory,
        manual_dir=given.manual_dir,
        say=say,
    )
    faces = _labels(stored, given, say)
    descriptions = [member.description for member in model.members]
    plan = unseen.plan(descriptions, stored.name, faces.fingerprint, given.folds)
    frontal = given.most_frontal
    if frontal is None:
        frontal = model.description.protocol.get("most_frontal") or 0 if plan.own else 0
    heads, intervals = model.heads, model.description.intervals
    selected = select(faces, heads, policy=policy, intervals=intervals, frontal=frontal)
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
        age_groups=faces.target("age", policy=policy, intervals=intervals),
        **vars(selected),
    )


def tell(trial: Trial, say: Say) -> None:
    """What a reader of the figures has to know before them."""
    for notice in trial.plan.notices:
        say(notice)
    for task in trial.targets:
        if task not in trial.labelled:
            say(f"no tested face of {trial.stored.name} has a label for {task}: it has no figures")
    count = trial.left_out["without_label"]
    if count:
        say(
            f"{count} of {len(trial.faces)} faces have no label that counts"
            f" (data.label_policy={trial.policy}) and are left out"
        )
    if trial.most_frontal:
        say(f"of the others, the {trial.most_frontal} of the highest face_score are kept")
