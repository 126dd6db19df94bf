"""What no type can say of a config: choices, bounds, and keys that must fit each other."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from ageflax.config.schema import BOUNDS, CHOICES, MODEL_CHOICES, MODEL_OPTIONS, TASKS, tasks_of
from ageflax.errors import InputError, shown


def nearest(name: str, names: Sequence[str]) -> str:
    """The end of an error message: the name that was probably meant, or all there are."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(names))}"


def check(config: Any, values: Mapping[str, Any]) -> None:
    """Raises InputError for the first thing that is wrong; fills in the trunk's own defaults.

    Args:
      config: unlocked.
      values: its leaves by dotted key.
    """
    for key, value in values.items():
        if key in CHOICES and value not in CHOICES[key]:
            raise InputError(f"{key} = {shown(value)}: not a choice{nearest(value, CHOICES[key])}")
        low, high = BOUNDS.get(key, (None, None))
        if low is not None and value is not None and not low <= value <= high:
            raise InputError(f"{key} = {shown(value)}: must lie in {low} to {high}")
    _tasks(config.task)
    _folds(config)
    _model(config.model)
    _input(config)
    _intervals(config.data.label_policy, config.data.intervals)
    _pairs("optim.lr_multipliers", config.optim.lr_multipliers, "factor")
    _patterns("optim.decay_exempt", config.optim.decay_exempt)
    _loss(config.loss, config.task)
    _optim(config.optim, config.data.batch_size)
    _transfer(config)
    _evaluation(config)


def _tasks(task: str) -> None:
    words = ["age", "gender"] if task == "joint" else task.split("+")
    known = all(word in TASKS for word in words)
    if not known or len(set(words)) != len(words):
        names = (*TASKS, "joint")
        raise InputError(
            f"task = {shown(task)}: expected age, years or gender, or several as in years+gender"
            f"{nearest(task, names)}"
        )


def _folds(config: Any) -> None:
    if config.fold is not None:
        config.folds = (config.fold,)
    for fold in config.folds:
        if fold not in range(5) or isinstance(fold, bool):
            raise InputError(f"fold {shown(fold)} is out of range: a dataset has folds 0 to 4")
    if not config.folds or len(set(config.folds)) != len(config.folds):
        raise InputError(f"folds = {shown(config.folds)}: name each test fold once, at least one")


def _model(model: Any) -> None:
    """An option that the trunk has not is refused; one that is left out gets the trunk's default."""
    options = MODEL_OPTIONS[model.name]
    every = {option for trunk in MODEL_OPTIONS.values() for option in trunk}
    for option in sorted(every):
        if option in options:
            if model[option] is None:
                model[option] = options[option]
        elif model[option] is not None:
            raise InputError(
                f"model.{option}: {model.name} has no such option; it has {', '.join(options)}"
            )
    for option, choices in MODEL_CHOICES.get(model.name, {}).items():
        if model[option] not in choices:
            raise InputError(
                f"model.{option} = {shown(model[option])}: not a choice{nearest(model[option], choices)}"
            )
    for features in model.head_hidden:
        if type(features) is not int or not 1 <= features <= 65536:
            raise InputError(
                f"model.head_hidden: {shown(features)} is no number of features; give such as (512, 100)"
            )


def _input(config: Any) -> None:
    data, name = config.data, config.model.name
    if data.crop > data.resize:
        raise InputError(f"data.crop = {data.crop} is larger than data.resize = {data.resize}")
    _eyes(data.eyes)
    if name == "vit_b16" and data.crop % 16:
        lower = max(data.crop // 16 * 16, 16)
        raise InputError(
            f"data.crop = {data.crop}: vit_b16 cuts it into patches of 16 pixels;"
            f" {lower} or {lower + 16} would do"
        )
    if name == "vgg16" and data.crop < 32:
        raise InputError(f"data.crop = {data.crop}: vgg16 halves it five times; 32 is the least")
    if name == "multitask_gray" and data.channels != "grey":
        raise InputError(f"data.channels = {data.channels!r}: multitask_gray sees grey alone")


def _eyes(eyes: Sequence[Any]) -> None:
    """() or two places, as fractions of width and height."""
    pairs = [pair for pair in eyes if isinstance(pair, tuple) and len(pair) == 2]
    known = all(type(place) in (int, float) and 0 < place < 1 for pair in pairs for place in pair)
    two = len(eyes) == len(pairs) == 2 and known
    if eyes and not (two and pairs[1][0] - pairs[0][0] > 0.02):
        raise InputError(
            f"data.eyes = {shown(eyes)}: expected ((x, y), (x, y)), as fractions of width and height,"
            " the eye on the image's left first; or () where images are not aligned"
        )


def _intervals(policy: str, intervals: Any) -> None:
    if (policy == "intervals") != bool(intervals):
        raise InputError(
            "data.intervals and data.label_policy = 'intervals' go together: set both or neither"
        )
    previous = -1
    for pair in intervals:
        whole = isinstance(pair, tuple) and [type(year) for year in pair] == [int, int]
        if not whole or not previous < pair[0] <= pair[1]:
            raise InputError(
                f"data.intervals: {shown(pair)}: expected (low, high) in whole years, each above the"
                " last, such as ((0, 12), (13, 29), (30, 49), (50, 100))"
            )
        previous = pair[1]
    if len(intervals) == 1:
        raise InputError("data.intervals: one class is nothing to learn; give two or more")


def _pairs(key: str, pairs: Sequence[Any], second: str) -> None:
    for pair in pairs:
        if not (
            isinstance(pair, tuple)
            and len(pair) == 2
            and isinstance(pair[0], str)
            and isinstance(pair[1], int | float)
            and not isinstance(pair[1], bool)
        ):
            raise InputError(f"{key}: {shown(pair)} is no (pattern, {second}) pair")


def _patterns(key: str, patterns: Sequence[Any]) -> None:
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise InputError(f"{key}: {shown(pattern)} is no pattern")


def _loss(loss: Any, task: str) -> None:
    _pairs("loss.weights", loss.weights, "factor")
    trained = tasks_of(task)
    for name, factor in loss.weights:
        if name not in trained:
            raise InputError(f"loss.weights: {shown(name)} is not trained{nearest(name, trained)}")
        if factor < 0:
            raise InputError(f"loss.weights: {name} = {factor}: must not be negative")
    smoothed = [name for name in trained if name == "gender" or loss[name] == "cross_entropy"]
    if loss.label_smoothing and not smoothed:
        raise InputError("loss.label_smoothing is of cross_entropy, which no task is trained by")
    if loss.balance == "uncertainty":
        if len(trained) < 2:
            raise InputError("loss.balance = 'uncertainty' balances tasks against each other, and"
                             f" {task} is one alone; use task=joint")  # fmt: skip
        if loss.weights:
            raise InputError("loss.weights are for loss.balance = 'weights': set one or the other")


def _optim(optim: Any, batch_size: int) -> None:
    if optim.schedule == "one_cycle" and optim.warmup_steps:
        raise InputError("optim.warmup_steps: one_cycle rises by itself; set optim.rise instead")
    if batch_size % optim.accumulate:
        raise InputError(
            f"data.batch_size = {batch_size} does not divide into"
            f" optim.accumulate = {optim.accumulate} parts"
        )


def _transfer(config: Any) -> None:
    transfer = config.transfer
    for key in ("reset", "frozen"):
        _patterns(f"transfer.{key}", transfer[key])
    _pairs("transfer.unfreeze", transfer.unfreeze, "step")
    for pattern, step in transfer.unfreeze:
        if type(step) is not int or step < 1:
            raise InputError(
                f"transfer.unfreeze: {shown(pattern)}: {shown(step)} is no step; 1 is the first"
            )
    if transfer.unfreeze and not transfer.frozen:
        raise InputError("transfer.unfreeze: nothing is frozen; name it in transfer.frozen first")
    for key in ("revision", "sha256"):
        if transfer[key] and not transfer.weights:
            raise InputError(f"transfer.{key} is of transfer.weights, which is not set")
    if transfer.cache_features:
        data = config.data
        if not transfer.frozen or transfer.unfreeze:
            raise InputError(
                "transfer.cache_features: needs a trunk that stays frozen:"
                " --config.transfer.frozen=\"('trunk/.*',)\", and no transfer.unfreeze"
            )
        for key in ("rotation", "zoom", "brightness", "contrast", "saturation", "erasing",
                    "mixup", "cutmix"):  # fmt: skip
            if data[key]:
                raise InputError(
                    f"data.{key} = {data[key]}: cached features see the centre crop and its mirror"
                    " alone; set it to 0 or transfer.cache_features=false"
                )


def _evaluation(config: Any) -> None:
    evaluation = config.eval
    crossed = evaluation.protocol == "cross_validation"
    unwatched = config.data.validation == "none" and crossed
    if evaluation.checkpoint == "best" and unwatched:
        raise InputError("eval.checkpoint = 'best' needs validation faces: set data.validation")
    if evaluation.patience and evaluation.checkpoint != "best":
        raise InputError("eval.patience stops early to test the best: set eval.checkpoint=best")
    if not crossed and tuple(config.folds) not in ((0, 1, 2, 3, 4), (4,)):
        raise InputError("eval.protocol = 'hold_out' tests fold 4 alone: leave folds as it is")
    if evaluation.figure in ("one_off", "mae") and tasks_of(config.task) == ("gender",):
        raise InputError(f"eval.figure = {evaluation.figure!r} is of ages; gender has exact")
