"""Rules that span several keys."""

from ageflax import labels
from ageflax.config.key import Number, nearest
from ageflax.config.schema import (
    KEYS,
    MODEL_CHOICES,
    MODEL_OPTIONS,
    POINT_LOSSES,
    Config,
    Data,
    Loss,
    Model,
    Optim,
    tasks,
    trains,
    words_of,
)
from ageflax.errors import InputError, shown

_AUGMENTATIONS = ("rotation", "zoom", "brightness", "contrast", "saturation", "erasing",
                  "shift", "stretch", "gamma", "cast", "shade", "grey", "blur", "downscale",
                  "noise", "jpeg", "mixup", "cutmix")  # fmt: skip


def check(config: Config) -> None:
    """Raises InputError for the first rule that a config breaks, its single values being valid."""
    _task(config.task)
    if not config.folds or len(set(config.folds)) != len(config.folds):
        raise InputError(f"folds = {shown(config.folds)}: name at least one test fold, each once")
    _model(config.model)
    _input(config)
    _eyes(config.data.eyes)
    _balance(config.data, tasks(config))
    _intervals(config.data.label_policy, config.data.intervals)
    _loss(config.loss, config.task, tasks(config))
    _optim(config.optim, config.data.batch_size)
    _zero_steps(config)
    _transfer(config)
    _distill(config)
    _evaluation(config)


def _task(task: str) -> None:
    words = words_of(task)
    if not set(words) <= set(labels.TASKS) or len(set(words)) != len(words):
        raise InputError(
            f"task = {shown(task)}: expected age, years or gender, or several as in years+gender"
            f"{nearest(task, (*labels.TASKS, 'joint'))}"
        )


def _model(model: Model) -> None:
    """Options are the trunk's own, and those with choices are among them."""
    options = MODEL_OPTIONS[model.name]
    for option in sorted({option for trunk in MODEL_OPTIONS.values() for option in trunk}):
        if option not in options and getattr(model, option) is not None:
            raise InputError(
                f"model.{option}: {model.name} has no such option; it has {', '.join(options)}"
            )
    for option, choices in MODEL_CHOICES.get(model.name, {}).items():
        value = getattr(model, option)
        if value not in choices:
            raise InputError(
                f"model.{option} = {shown(value)}: not a choice{nearest(value, choices)}"
            )


def _input(config: Config) -> None:
    data, name = config.data, config.model.name
    if data.crop > data.resize:
        raise InputError(f"data.crop = {data.crop} is larger than data.resize = {data.resize}")
    if name == "vit_b16" and data.crop % 16:
        lower = max(data.crop // 16 * 16, 16)
        raise InputError(
            f"data.crop = {data.crop}: vit_b16 needs a multiple of its patches of 16 pixels; use"
            f" {lower} or {lower + 16}"
        )
    if name == "vgg16" and data.crop < 32:
        raise InputError(f"data.crop = {data.crop}: vgg16 halves it five times; use at least 32")
    if name == "multitask_gray" and data.channels != "grey":
        raise InputError(f"data.channels = {data.channels!r}: multitask_gray needs 'grey'")


def _eyes(eyes: tuple[tuple[Number, Number], ...]) -> None:
    """Two places, the left one first, or none."""
    within = all(0 < place < 1 for pair in eyes for place in pair)
    if eyes and not (len(eyes) == 2 and within and eyes[1][0] - eyes[0][0] > 0.02):
        raise InputError(f"data.eyes = {shown(eyes)}: expected {KEYS['data.eyes'].expected}")


def _balance(data: Data, trained: tuple[str, ...]) -> None:
    """The balanced labels are those of trained tasks."""
    if not data.balance:
        return
    for label in data.balance_by.split("+"):
        if label not in trained and not (label == "age" and "years" in trained):
            needed = "age or years" if label == "age" else label
            raise InputError(
                f"data.balance_by = {data.balance_by!r}: needs the task {needed}; add it to task, or set"
                " another data.balance_by or data.balance=0"
            )


def _intervals(policy: str, intervals: tuple[tuple[int, int], ...]) -> None:
    if (policy == "intervals") != bool(intervals):
        raise InputError(
            "data.intervals: goes with data.label_policy = 'intervals'; set both or neither"
        )
    previous = -1
    for low, high in intervals:
        if not previous < low <= high:
            raise InputError(
                f"data.intervals: ({low}, {high}): expected {KEYS['data.intervals'].expected}"
            )
        previous = high
    if len(intervals) == 1:
        raise InputError("data.intervals: a single class leaves nothing to learn; give two or more")


def _loss(loss: Loss, task: str, trained: tuple[str, ...]) -> None:
    for name, factor in loss.weights:
        if name not in trained:
            raise InputError(f"loss.weights: {shown(name)} is not trained{nearest(name, trained)}")
        if factor < 0:
            raise InputError(f"loss.weights: {name} = {factor}: must not be negative")
    smoothed = [
        name for name in trained if name == "gender" or getattr(loss, name) == "cross_entropy"
    ]
    if loss.label_smoothing and not smoothed:
        raise InputError(
            "loss.label_smoothing: needs a task trained with cross_entropy; set it to 0"
        )
    if loss.balance == "uncertainty":
        if len(trained) < 2:
            raise InputError(
                "loss.balance = 'uncertainty': needs several tasks to balance, not"
                f" {task} alone; use task=joint"
            )
        if loss.weights:
            raise InputError("loss.weights: needs loss.balance = 'weights'; set one or the other")


def _optim(optim: Optim, batch_size: int) -> None:
    if optim.schedule == "one_cycle" and optim.warmup_steps:
        raise InputError("optim.warmup_steps: one_cycle has its own rise; set optim.rise instead")
    if batch_size % optim.accumulate:
        raise InputError(
            f"data.batch_size = {batch_size} does not divide into"
            f" optim.accumulate = {optim.accumulate} parts"
        )


def _zero_steps(config: Config) -> None:
    if not trains(config) and not config.transfer.weights:
        name = "steps" if config.epochs is None else "epochs"
        raise InputError(
            f"{name} = 0: no weights to test; set transfer.weights=BUNDLE, or {name} above 0"
        )


def _transfer(config: Config) -> None:
    transfer = config.transfer
    for pattern, step in transfer.unfreeze:
        if step < 1:
            raise InputError(
                f"transfer.unfreeze: {shown(pattern)}: step {step}; the first step is 1"
            )
    if transfer.unfreeze and not transfer.frozen:
        raise InputError("transfer.unfreeze: nothing is frozen; name it in transfer.frozen first")
    for name in ("revision", "sha256"):
        if getattr(transfer, name) and not transfer.weights:
            raise InputError(f"transfer.{name}: needs transfer.weights, which is not set")
    if not transfer.cache_features:
        return
    if not transfer.frozen or transfer.unfreeze:
        raise InputError(
            "transfer.cache_features: needs a trunk that stays frozen:"
            " --config.transfer.frozen=\"('trunk/.*',)\", and no transfer.unfreeze"
        )
    for name in _AUGMENTATIONS:
        value, off = getattr(config.data, name), KEYS[f"data.{name}"].default
        if value != off:
            raise InputError(
                f"data.{name} = {value}: cached features are of the center crop and its mirror"
                f" alone; set it to {off:g} or transfer.cache_features=false"
            )


def _distill(config: Config) -> None:
    """Teachers see the student's views in colour, as pixels, and both sides give distributions."""
    distill, data = config.distill, config.data
    if not distill.teachers:
        for name, unset in (("weight", 0.0), ("temperature", 1.0)):
            if (value := getattr(distill, name)) != unset:
                raise InputError(
                    f"distill.{name} = {value}: needs distill.teachers, which is not set"
                )
        return
    if not distill.weight:
        raise InputError("distill.teachers: distill.weight is 0; set it above 0, up to 1")
    if "years" in tasks(config) and config.loss.years in POINT_LOSSES:
        raise InputError(
            f"distill.teachers: loss.years = {config.loss.years!r} has no distribution; set another"
        )
    if data.mean == "image":
        raise InputError(
            "distill.teachers: data.mean = 'image' cannot be taken back from a crop, which the teachers"
            " see with their own mean; set data.mean=channel"
        )
    if data.channels == "grey":
        raise InputError(
            "distill.teachers: data.channels = 'grey' hides colours from them; use rgb"
        )
    if config.transfer.cache_features:
        raise InputError(
            "distill.teachers: cached features show them no pixels; set transfer.cache_features=false"
        )


def _evaluation(config: Config) -> None:
    evaluation = config.eval
    crossed = evaluation.protocol == "cross_validation"
    if evaluation.checkpoint == "best" and crossed and config.data.validation == "none":
        raise InputError("eval.checkpoint = 'best' needs validation faces; set data.validation")
    if evaluation.patience and evaluation.checkpoint != "best":
        raise InputError("eval.patience: needs the best checkpoint; set eval.checkpoint=best")
    if evaluation.age == "median":
        if "years" not in tasks(config):
            raise InputError(
                "eval.age = 'median': needs a distribution over years; add years to task"
            )
        if config.loss.years in POINT_LOSSES:
            raise InputError(
                f"eval.age = 'median': loss.years = {config.loss.years!r} has no distribution; set"
                " eval.age=mean or another loss.years"
            )
    if not crossed and config.folds not in ((0, 1, 2, 3, 4), (4,)):
        raise InputError("eval.protocol = 'hold_out' tests fold 4 only; leave folds as it is")
    if evaluation.figure in ("one_off", "mae") and tasks(config) == ("gender",):
        raise InputError(
            f"eval.figure = {evaluation.figure!r} needs an age task; use 'exact' for gender"
        )
