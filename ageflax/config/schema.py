"""Every key of the config, declared once.

The defaults are the paper's recipe (Levi & Hassner 2015) wherever the paper has one.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ageflax import labels
from ageflax.config.key import Group, Number, declared, flatten, key

# Trunks and their options with defaults: the attributes of the classes in ageflax.models, repeated
# here so that a misspelt key does not wait for JAX; a test compares the two.
MODEL_OPTIONS: dict[str, dict[str, Any]] = {
    "levi_hassner": {
        "width": 1.0,
        "norm": "lrn",
        "activation": "relu",
        "initialization": "gaussian",
        "dropout": 0.5,
    },
    "resnet18": {"width": 1.0, "stem": "imagenet", "dropout": 0.0},
    "resnet34": {"width": 1.0, "stem": "imagenet", "dropout": 0.0},
    "resnet50": {"width": 1.0, "stem": "imagenet", "dropout": 0.0},
    "vgg16": {"width": 1.0, "dropout": 0.5},
    "inception_small": {"width": 1.0, "dropout": 0.4},
    "resnet_small": {"width": 1.0, "dropout": 0.0},
    "multitask_gray": {"width": 1.0, "norm": "lrn"},
    "vit_b16": {"width": 1.0, "depth": 12, "drop_path": 0.0},
    "dlib_face_resnet": {"width": 1.0, "dropout": 0.0},
    "dlib_age_resnet": {"width": 1.0, "dropout": 0.0},
    "dlib_gender_cnn": {"width": 1.0, "dropout": 0.5},
    "efficientnet_lite0": {"width": 1.0, "drop_path": 0.0, "dropout": 0.0},
}
# Choices of an option by trunk.
MODEL_CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "levi_hassner": {
        "norm": ("lrn", "batch", "none"),
        "activation": ("relu", "selu", "elu", "leaky", "prelu"),
        "initialization": ("gaussian", "matched"),
    },
    "multitask_gray": {"norm": ("lrn", "none")},
    **{name: {"stem": ("imagenet", "small")} for name in ("resnet18", "resnet34", "resnet50")},
}

AgeLoss = Literal["cross_entropy", "label_distribution", "mean_variance", "coral", "corn"]
# Losses of years whose head gives an age and no distribution.
POINT_LOSSES = ("l1", "huber")
_PATTERNS = "patterns such as ('trunk/.*',)"


@dataclass(frozen=True)
class Data(Group):
    """Dataset, classes, preprocessing, augmentation and batches."""

    name: str = key("adience/aligned", "dataset: builder[/config]")
    dir: str = key(
        "",
        "folder of built datasets; empty: TFDS's default (TFDS_DATA_DIR)",
        continuable=True,
        path=True,
    )
    manual_dir: str = key(
        "",
        "folder of downloaded archives; empty: DIR/downloads/manual",
        continuable=True,
        path=True,
    )
    rebuild: bool = key(
        False, "build the dataset anew if its source files have changed", continuable=True
    )
    label_policy: str = key(
        "strict",
        "classes from raw age labels; see ageflax/labels.py",
        choices=labels.LABEL_POLICIES,
    )
    intervals: tuple[tuple[int, int], ...] = key(
        (),
        "age classes of label_policy=intervals; empty with any other policy",
        form="(low, high) in whole years, ascending, as in ((0, 12), (13, 29), (30, 49), (50, 100))",
    )
    most_frontal: int = key(0, "number of faces kept, highest face_score first; 0: all", 0, 10**9)
    train_share: float = key(1.0, "share of the training subjects to learn from", 0.001, 1.0)
    resize: int = key(256, "side of the decoded square image, in pixels", 8, 4096)
    crop: int = key(227, "side of the network's input, in pixels", 8, 4096)
    interpolation: Literal["bilinear", "area", "reduced"] = key(
        "bilinear",
        "resizing filter, part of the model; bilinear: as Caffe's convert_imageset; reduced: smooth"
        " and fastest, of a JPEG decoded at 1/2, 1/4 or 1/8 if that is no smaller than resize",
    )
    mean: Literal["image", "channel", "imagenet", "clip", "dlib", "efficientnet_lite", "none"] = (
        key(
            "image", "subtracted from pixels; image, channel: mean image or color of training faces"
        )
    )
    deviation: Literal["none", "channel", "imagenet", "clip", "dlib", "efficientnet_lite"] = key(
        "none", "std that pixels are divided by; channel: per channel, of the training faces"
    )
    channels: Literal["bgr", "rgb", "grey"] = key(
        "bgr", "channels of the network's input; bgr: Caffe's order; grey: a single channel"
    )
    # Adience's faces are not measured: the margin is DEX's, close to the padding of public code.
    crop_margin: float = key(
        0.4, "margin around a detected box in the images, per side", -0.4, 4.0, continuable=True
    )
    eyes: tuple[tuple[Number, Number], ...] = key(
        (),
        "where the eyes lie in aligned images, for crops at prediction; empty: not aligned",
        form="((x, y), (x, y)) as fractions of width and height, the eye on the image's left first;"
        " or () if images are not aligned",
        continuable=True,
    )
    mirror: bool = key(True, "random horizontal mirroring in training")
    rotation: float = key(0.0, "largest random rotation in training, in degrees", 0.0, 180.0)
    zoom: float = key(0.0, "largest random change of size in training, as a share", 0.0, 0.9)
    brightness: float = key(0.0, "b: random factor of 1 - b to 1 + b in training", 0.0, 1.0)
    contrast: float = key(0.0, "as brightness, about the image's mean", 0.0, 1.0)
    saturation: float = key(0.0, "as brightness, towards grey", 0.0, 1.0)
    shift: float = key(
        0.0, "largest random move in training, share of the side, both axes; edges repeat", 0.0, 0.5
    )
    stretch: float = key(0.0, "largest random change of proportions in training", 0.0, 0.9)
    gamma: float = key(0.0, "g: random exponent of 1 / (1 + g) to 1 + g in training", 0.0, 4.0)
    cast: float = key(0.0, "as brightness, each channel by itself", 0.0, 0.9)
    shade: float = key(
        0.0,
        "largest slope of light from one side in training; 0.5: half to one and a half",
        0.0,
        1.0,
    )
    grey: float = key(0.0, "probability of a grey image in training", 0.0, 1.0)
    blur: float = key(0.0, "largest sigma of random blur in training, in pixels", 0.0, 16.0)
    downscale: float = key(
        1.0, "largest random loss of resolution in training, as a factor; 1: off", 1.0, 16.0
    )
    noise: float = key(0.0, "largest std of random noise in training, grey levels", 0.0, 100.0)
    jpeg: int = key(0, "lowest quality of random JPEG losses in training; 0: off", 0, 100)
    erasing: float = key(0.0, "probability of a blanked rectangle in training", 0.0, 1.0)
    mixup: float = key(0.0, "a: Beta(a, a) blends of two faces and labels; 0: off", 0.0, 100.0)
    cutmix: float = key(
        0.0, "a: Beta(a, a) patches of another face, labels blended; 0: off", 0.0, 100.0
    )
    validation: Literal["subject", "none", "image_leaky"] = key(
        "subject", "split of the training folds; image_leaky: the authors' lists, leaks subjects"
    )
    validation_fraction: float = key(0.1, "share of the training folds' faces", 0.001, 0.9)
    balance: float = key(
        0.0,
        "draws of training faces, an epoch as long as ever; 0: each once; 1: every age equally often;"
        " between: in proportion to (faces of that age) ** -balance",
        0.0,
        1.0,
    )
    balance_by: Literal["age", "gender", "age+gender"] = key(
        "age", "labels that data.balance evens out; ages in years count within 2.5 years"
    )
    batch_size: int = key(50, "faces per step over all devices", 1, 10**6)
    placement: Literal["auto", "device", "host", "stream"] = key(
        "auto", "place of the decoded images; stream: decoded for every batch", continuable=True
    )
    dispatch: int = key(
        0,
        "placement=device: steps per dispatch; 0: all up to a log line, one on a CPU",
        0,
        10**6,
        continuable=True,
    )
    memory_share: float = key(
        0.5, "placement=auto: memory share for decoded images", 0.0, 1.0, continuable=True
    )
    prepared: bool = key(
        True, "decoded images and labels kept beside the dataset for reuse", continuable=True
    )
    workers: int = key(
        0, "placement=stream: decoding processes; 0: threads", 0, 1024, continuable=True
    )


@dataclass(frozen=True)
class Model(Group):
    """Trunk, its options and the heads."""

    name: str = key("levi_hassner", "trunk", choices=tuple(MODEL_OPTIONS))
    width: float | None = key(None, "factor on the number of features of every layer", 0.01, 16.0)
    depth: int | None = key(None, "number of transformer blocks", 1, 128)
    stem: str | None = key(None, "first layers: imagenet, or small for inputs of 64 to 112 pixels")
    norm: str | None = key(None, "normalization", form="lrn, batch or none")
    activation: str | None = key(None, "relu, selu, elu, leaky or prelu")
    initialization: str | None = key(
        None, "weights drawn gaussian with the paper's stds, or matched to the activation"
    )
    dropout: float | None = key(None, "dropout rate of the trunk", 0.0, 0.99)
    drop_path: float | None = key(None, "probability of skipping a block in training", 0.0, 0.99)
    head_hidden: tuple[int, ...] = key(
        (),
        "hidden fully connected layers of each task's head",
        1,
        65536,
        form="numbers of features such as (512, 100)",
    )
    head_dropout: float = key(0.5, "dropout rate after each hidden layer of a head", 0.0, 0.99)
    dtype: Literal["float32", "bfloat16"] = key(
        "float32", "type of the computation; parameters stay float32"
    )


@dataclass(frozen=True)
class Transfer(Group):
    """Weights to start from, and which of them learn; patterns match parameter paths."""

    weights: str = key(
        "",
        "FILE.safetensors, a bundle, or a hub name such as timm/resnet34.tv_in1k; RUN/fold_{fold}"
        " starts each fold from another run's fold; empty: from scratch",
        path=True,
    )
    revision: str = key(
        "", "commit of the hub's repository; empty: the one pinned in hub.py, else the newest"
    )
    sha256: str = key("", "required sha256 of the weights file; empty: any")
    reset: tuple[str, ...] = key(
        ("heads/.*",), "parameters drawn afresh; the weights have all others", form=_PATTERNS
    )
    frozen: tuple[str, ...] = key((), "frozen parameters and batch statistics", form=_PATTERNS)
    unfreeze: tuple[tuple[str, int], ...] = key(
        (), "when frozen parameters start to learn", form="(pattern, step) pairs"
    )
    cache_features: bool = key(
        False, "run a wholly frozen trunk once over center crops, train on its features"
    )


@dataclass(frozen=True)
class Distill(Group):
    """Teachers, whose answers to each step's views are learned beside the labels."""

    teachers: tuple[str, ...] = key(
        (),
        "models to learn from, averaged; a forward pass of each is added to a step",
        form="bundles, runs' folds or hub names such as ('RUN/fold_{fold}',); {fold} is the test fold",
    )
    weight: float = key(
        0.0, "w: every task's loss is (1 - w) of the labels' and w of the teachers'", 0.0, 1.0
    )
    temperature: float = key(
        1.0, "T: probabilities to the power of 1 / T are compared, times T squared", 0.1, 100.0
    )


@dataclass(frozen=True)
class Loss(Group):
    """Losses of the tasks."""

    age: Literal[AgeLoss] = key("cross_entropy", "loss of age groups")
    years: Literal[AgeLoss, "l1", "huber", "gaussian"] = key(
        "cross_entropy", "loss of years (cross_entropy: DEX)"
    )
    label_smoothing: float = key(
        0.0, "cross_entropy: share of the target spread over all classes", 0.0, 0.99
    )
    deviation: float = key(
        2.5,
        "label_distribution: std of the normal around the label, in classes or years",
        0.05,
        50.0,
    )
    deviation_growth: float = key(
        0.0, "label_distribution: growth of the std per class or year of the label", 0.0, 1.0
    )
    mean: float = key(0.2, "mean_variance: weight of the mean's squared error", 0.0, 1e3)
    variance: float = key(0.05, "mean_variance: weight of the variance", 0.0, 1e3)
    huber_delta: float = key(1.0, "huber: error in years above which it is linear", 0.01, 100.0)
    expectation: float = key(
        0.0, "weight of an added smooth-L1 error of the expected class or age", 0.0, 1e3
    )
    class_weights: Literal["none", "balanced"] = key(
        "none", "balanced: equal weight of all classes, however many of their faces are drawn"
    )
    balance: Literal["weights", "uncertainty"] = key(
        "weights", "balance of the tasks; uncertainty: one trainable parameter per task"
    )
    weights: tuple[tuple[str, Number], ...] = key(
        (), "balance=weights: factors of the tasks; 1 if not named", form="(task, factor) pairs"
    )


@dataclass(frozen=True)
class Optim(Group):
    """Optimizer and learning rate; patterns match parameter paths such as heads/age/kernel."""

    name: Literal["sgd", "adamw"] = key("sgd", "optimizer; sgd: Caffe's")
    learning_rate: float = key(1e-3, "peak learning rate", 0.0, 1e3)
    momentum: float = key(0.9, "momentum of sgd", 0.0, 0.9999)
    weight_decay: float = key(5e-4, "weight decay", 0.0, 1e3)
    schedule: Literal["step", "constant", "cosine", "one_cycle"] = key(
        "step", "course of the learning rate"
    )
    warmup_steps: int = key(0, "steps of linear warm-up from zero", 0, 10**9)
    decay_every: int = key(10_000, "schedule=step: steps between two decays", 1, 10**9)
    decay_factor: float = key(0.1, "schedule=step: factor of a decay", 0.0, 1.0)
    rise: float = key(0.3, "schedule=one_cycle: share of steps with a rising rate", 0.0, 1.0)
    lr_multipliers: tuple[tuple[str, Number], ...] = key(
        (("heads/.*/kernel", 10.0), ("heads/.*/bias", 20.0), (".*/bias", 2.0)),
        "factors on the learning rate; the first match wins",
        form="(pattern, factor) pairs",
    )
    decay_exempt: tuple[str, ...] = key(
        (".*/bias",), "parameters without weight decay", form=_PATTERNS
    )
    clip_norm: float = key(0.0, "largest norm of the gradient; 0: off", 0.0, 1e6)
    accumulate: int = key(1, "parts of a batch, computed one after another", 1, 10**6)
    ema: float = key(0.0, "decay of averaged weights, which are then tested; 0: off", 0.0, 0.999999)


@dataclass(frozen=True)
class Eval(Group):
    """Protocol, validation and test."""

    protocol: Literal["cross_validation", "hold_out"] = key(
        "cross_validation", "folds; hold_out: 60 % training, 20 % validation, 20 % test"
    )
    crops: Literal["center", "mirror", "ten", "scales"] = key(
        "center",
        "averaged views; mirror: center and its mirror; ten: corners, center, mirrors; scales: center,"
        " the whole image, and as much closer, with mirrors",
    )
    age: Literal["mean", "median"] = key(
        "mean", "point of the distribution over years that is the estimated age"
    )
    checkpoint: Literal["last", "best"] = key(
        "last", "tested weights: the last, or the best on validation"
    )
    figure: Literal["auto", "exact", "one_off", "mae"] = key(
        "auto", "figure of the best checkpoint; auto: mae for years, else exact"
    )
    patience: int = key(
        0, "validations without a better figure before stopping early; 0: off", 0, 10**6
    )
    batch_size: int = key(100, "faces per batch over all devices", 1, 10**6, continuable=True)
    conditions: int = key(
        400,
        "most validation faces shown under other framing and in worse pictures, to measure what these"
        " cost; 0: off",
        0,
        10**6,
        continuable=True,
    )
    every: int = key(1000, "steps between two validations, each with a checkpoint", 1, 10**9)
    log_every: int = key(50, "steps between two lines of metrics.jsonl", 1, 10**9, continuable=True)


@dataclass(frozen=True)
class Config(Group):
    """Config of a run: resolved by `load` or `resolve`, all defaults as `Config()`."""

    task: str = key("age", "age (groups), years (0 to 100), gender, or a sum; joint: age+gender")
    folds: tuple[int, ...] = key(
        (0, 1, 2, 3, 4), "test folds", 0, 4, form="folds such as (0, 3)", continuable=True
    )
    fold: int | None = key(None, "a single test fold, short for folds=(K,)", 0, 4, continuable=True)
    seed: int = key(0, "random seed", 0, 2**31 - 1)
    steps: int = key(
        50_000,
        "training steps per fold; 0: the bundle in transfer.weights is tested and calibrated as it is",
        0,
        10**9,
    )
    epochs: float | None = key(
        None, "instead of steps: passes over an average training set", 0.0, 10**6
    )
    data: Data = Data()
    model: Model = Model()
    transfer: Transfer = Transfer()
    distill: Distill = Distill()
    loss: Loss = Loss()
    optim: Optim = Optim()
    eval: Eval = Eval()


KEYS = declared(Config)
CROPS = KEYS["eval.crops"].choices
CONTINUABLE = frozenset(name for name, key in KEYS.items() if key.continuable)
# Keys that change figures only where the best checkpoint is tested.
_OF_THE_BEST = frozenset({"eval.every", "eval.figure"})
# Values with which a bundle that is not trained stays as it is.
_UNTRAINED = {"transfer.reset": (), "transfer.frozen": (), "transfer.unfreeze": (),
              "transfer.cache_features": False, "distill.teachers": (), "distill.weight": 0.0,
              "distill.temperature": 1.0}  # fmt: skip
# Last defaults of keys of earlier versions, which changed nothing.
RETIRED = {"model.init": "gaussian"}


def replaced(config: Config, **values: Any) -> Config:
    """Copy of a config with other values, by dotted key; they are not checked."""
    groups: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        group, _, leaf = name.rpartition(".")
        groups.setdefault(group, {})[leaf] = value
    own = groups.pop("", {})
    for group, leaves in groups.items():
        own[group] = dataclasses.replace(getattr(config, group), **leaves)
    return dataclasses.replace(config, **own)


def trains(config: Config) -> bool:
    """True unless steps or epochs are 0, which tests and calibrates a bundle as it is."""
    return (config.steps if config.epochs is None else config.epochs) > 0


def untrained(config: Config) -> Config:
    """The config without the changes that training would make to the bundle it starts from."""
    return replaced(config, **_UNTRAINED)


def words_of(task: str) -> list[str]:
    """Single tasks that a value of `task` names, as they stand."""
    return ["age", "gender"] if task == "joint" else task.split("+")


def tasks(config: Config) -> tuple[str, ...]:
    """Trained tasks in the order age, years, gender."""
    return tuple(name for name in labels.TASKS if name in words_of(config.task))


def intervals(config: Config) -> labels.Intervals:
    """Age groups: the config's own, else Adience's."""
    return config.data.intervals or labels.ADIENCE


def class_names(config: Config) -> dict[str, tuple[str, ...]]:
    """Class names of each trained task."""
    return {task: labels.class_names(task, intervals(config)) for task in tasks(config)}


def _complete(old: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a run's config by dotted key; those that it lacks are the defaults."""
    # Through JSON, so that tuples on one side and lists on the other compare equal.
    defaults = {name: key.default for name, key in KEYS.items()}
    values = dict(flatten(json.loads(json.dumps(old))))
    values = {k: v for k, v in values.items() if k not in RETIRED or v != RETIRED[k]}
    values = json.loads(json.dumps(defaults)) | values
    for option, default in MODEL_OPTIONS.get(values["model.name"], {}).items():
        if values[f"model.{option}"] is None:
            values[f"model.{option}"] = default
    return values


def differing_keys(old: Mapping[str, Any], new: Config) -> list[str]:
    """Keys whose change makes another experiment, as "key: old -> new" lines.

    Args:
      old: config of the run's first start, from its config.json; an older version's may lack keys.
      new: config to resume it with.
    """
    before, after = _complete(old), _complete(new.to_dict())
    free = CONTINUABLE | (_OF_THE_BEST if new.eval.checkpoint == "last" else frozenset())
    return [
        f"{name}: {before[name]!r} -> {repr(after[name]) if name in after else 'no longer a key'}"
        for name in sorted(before)
        if name not in free and (name not in after or before[name] != after[name])
    ]
