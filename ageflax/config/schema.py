"""Every key with its default, and the values each accepts.

The defaults are the paper's recipe (Levi & Hassner 2015) wherever the paper has a say.
"""

from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from ageflax import labels

# What a network is built from: a trunk's name, and the options it has with their defaults. They are
# the attributes of the classes in ageflax.models, written down once more because a misspelt key
# should not wait for JAX; a test holds the two together.
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
}
# Choices of an option that differ by trunk.
MODEL_CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "levi_hassner": {
        "norm": ("lrn", "batch", "none"),
        "activation": ("relu", "selu", "elu", "leaky", "prelu"),
        "initialization": ("gaussian", "matched"),
    },
    "multitask_gray": {"norm": ("lrn", "none")},
    **{name: {"stem": ("imagenet", "small")} for name in ("resnet18", "resnet34", "resnet50")},
}


def defaults() -> Any:
    """All keys with their default values; see the comments for meaning and unit."""
    config = ConfigDict()
    # age (groups), years (0 to 100), gender, or several joined by "+"; joint is age+gender
    config.task = "age"
    config.folds = (0, 1, 2, 3, 4)  # the test folds to run
    config.fold = placeholder(int)  # one test fold; short for folds=(K,)
    config.seed = 0
    config.steps = 50_000  # optimiser steps a fold
    config.epochs = placeholder(float)  # instead of steps: passes over an average training set
    config.data = _data()
    config.model = _model()
    config.transfer = _transfer()
    config.loss = _loss()
    config.optim = _optim()
    config.eval = _eval()
    return config


def _data() -> ConfigDict:
    data = ConfigDict()
    data.name = "adience/aligned"  # builder[/config]
    data.dir = ""  # where datasets are built; "" is TFDS's default (TFDS_DATA_DIR)
    data.manual_dir = ""  # where downloaded archives lie; "" is DIR/downloads/manual
    data.label_policy = "strict"  # how raw age labels become classes; see ageflax/labels.py
    data.intervals = ()  # label_policy=intervals: the classes, ((low, high), ...) in whole years
    data.most_frontal = 0  # keep so many faces of the highest face_score; 0 keeps all
    data.train_share = 1.0  # learn from this share of the training persons only
    data.resize = 256  # side, in pixels, of the decoded square image
    data.crop = 227  # side, in pixels, of what the network sees
    # bilinear, as Caffe's convert_imageset | area | reduced (of a JPEG decoded at 1/2, 1/4 or 1/8 where
    # that is still no smaller than resize; fastest, smooth, and part of what the model is)
    data.interpolation = "bilinear"
    data.mean = (
        "image"  # subtracted: the training faces' image | channel mean, imagenet, clip, none
    )
    data.deviation = (
        "none"  # divided by: none | the training faces' channel deviation, imagenet, clip
    )
    data.channels = "bgr"  # what the network sees: bgr (Caffe) | rgb | grey (one channel)
    # How the images frame a face, so that prediction cuts faces out alike: the share of a detected box's
    # side that is added on each side, and where the eyes lie if images are aligned by them, as fractions
    # of width and height, the one on the image's left first: ((x, y), (x, y)). ageflax.predict.framing
    # measures both. Adience's are not measured: the margin is DEX's, and about what public code pads.
    data.crop_margin = 0.4
    data.eyes = ()
    data.mirror = True  # random horizontal mirror in training
    data.rotation = 0.0  # in training, up to so many degrees either way
    data.zoom = 0.0  # in training, larger or smaller by up to this share
    data.brightness = 0.0  # in training, times 1 - b to 1 + b
    data.contrast = 0.0  # the same about the image's mean
    data.saturation = 0.0  # the same towards grey
    data.erasing = 0.0  # probability of blanking a random rectangle in training
    data.mixup = 0.0  # Beta(a, a) blends of two faces and their labels; 0 is off
    data.cutmix = 0.0  # Beta(a, a) patches of another face and its labels; 0 is off
    data.validation = "subject"  # subject | none | image_leaky (the authors' lists; leaks persons)
    data.validation_fraction = 0.1  # share of the training folds' faces
    data.batch_size = 50  # over all devices
    data.placement = "auto"  # auto | device | host | stream
    # placement=device: steps taken in one dispatch, of those between log lines; 0 takes all of them, on
    # a CPU one
    data.dispatch = 0
    data.memory_share = 0.5  # auto: keep decoded images where they fill at most this share
    # Decoded images that are kept whole are written beside the dataset too, and memory-mapped from there
    # by the next start; the table of labels likewise.
    data.prepared = True
    data.workers = 0  # stream: decoding processes; 0 decodes in threads of this one
    return data


def _model() -> ConfigDict:
    model = ConfigDict()
    model.name = "levi_hassner"
    # Options of the trunk, its own default where they are left out; MODEL_OPTIONS has them.
    model.width = placeholder(float)  # multiplies every layer's features
    model.depth = placeholder(int)  # transformer blocks
    model.stem = placeholder(str)  # imagenet | small (for inputs of about 64 to 112 pixels)
    model.norm = placeholder(str)  # lrn | batch | none
    model.activation = placeholder(str)  # relu | selu | elu | leaky | prelu
    model.initialization = placeholder(str)  # gaussian, the paper's deviations | matched
    model.dropout = placeholder(float)
    model.drop_path = placeholder(float)  # probability of leaving out a block
    # Each task's own fully connected layers before its last one, such as (512, 100).
    model.head_hidden = ()
    model.head_dropout = 0.5  # after each of them
    model.dtype = "float32"  # of the computation: float32 | bfloat16 (parameters stay float32)
    return model


def _transfer() -> ConfigDict:
    transfer = ConfigDict()
    # "" trains from scratch; FILE.safetensors, a bundle, or a hub name such as timm/resnet34.tv_in1k;
    # `{fold}` in it is the test fold's number: RUN/fold_{fold} goes on from another run's fold.
    transfer.weights = ""
    # Of the hub's repository; "" is the pinned one where ageflax/weights/hub.py has it, else the newest.
    transfer.revision = ""
    transfer.sha256 = ""  # of the weights file; anything else is refused
    # Patterns over parameter paths, here and below. These stay freshly drawn; the rest must be there.
    transfer.reset = ("heads/.*",)
    transfer.frozen = ()  # stay as they are, batch statistics too: ("trunk/.*",)
    transfer.unfreeze = ()  # (pattern, step) pairs: learn from that step on
    # Run a wholly frozen trunk once over the centre crops (and mirrors), and train on its features.
    transfer.cache_features = False
    return transfer


def _loss() -> ConfigDict:
    loss = ConfigDict()
    # cross_entropy | label_distribution | mean_variance | coral | corn
    loss.age = "cross_entropy"
    loss.years = "cross_entropy"  # those (cross_entropy is DEX) | l1 | huber | gaussian
    loss.label_smoothing = 0.0  # cross_entropy: share of the target spread over all classes
    loss.deviation = 2.5  # label_distribution: of the normal around the label, in classes or years
    loss.mean = 0.2  # mean_variance: weight of the squared error of the mean
    loss.variance = 0.05  # mean_variance: weight of the variance
    loss.huber_delta = 1.0  # huber: years from which the loss is linear
    loss.expectation = 0.0  # weight of the smooth-L1 error of the expected class or age, added
    loss.class_weights = "none"  # none | balanced (classes weigh the same whatever their faces)
    loss.balance = "weights"  # weights | uncertainty (one trainable parameter a task)
    loss.weights = ()  # balance=weights: (task, factor) pairs; 1 where not named
    return loss


def _optim() -> ConfigDict:
    optim = ConfigDict()
    optim.name = "sgd"  # sgd (Caffe's) | adamw
    optim.learning_rate = 1e-3
    optim.momentum = 0.9
    optim.weight_decay = 5e-4
    optim.schedule = "step"  # step | constant | cosine | one_cycle
    optim.warmup_steps = 0
    optim.decay_every = 10_000  # step: multiply by decay_factor every so many steps
    optim.decay_factor = 0.1
    optim.rise = 0.3  # one_cycle: share of the steps in which the rate rises
    # (pattern, factor) pairs over parameter paths, first match wins; heads are "heads/age/kernel".
    optim.lr_multipliers = (
        ("heads/.*/kernel", 10.0),
        ("heads/.*/bias", 20.0),
        (".*/bias", 2.0),
    )
    optim.decay_exempt = (".*/bias",)  # patterns over parameter paths
    optim.clip_norm = 0.0  # largest norm of the gradient; 0 is off
    optim.accumulate = 1  # a batch is computed in so many parts, one after another
    optim.ema = 0.0  # decay of an average of the weights, which is then tested; 0 is off
    return optim


def _eval() -> ConfigDict:
    evaluation = ConfigDict()
    evaluation.protocol = "cross_validation"  # cross_validation | hold_out (60/20/20)
    # center | mirror (it and its mirror) | ten (corners, centre and mirrors); averaged
    evaluation.crops = "center"
    evaluation.checkpoint = "last"  # which weights are tested: last | best (on validation)
    evaluation.figure = "auto"  # what best means: exact | one_off | mae; auto is mae for years
    evaluation.patience = 0  # stop after so many validations without a better figure; 0 never does
    evaluation.batch_size = 100
    evaluation.every = 1000  # steps between validations, each followed by a checkpoint
    evaluation.log_every = 50  # steps between lines of metrics.jsonl
    return evaluation


TASKS = ("age", "years", "gender")


def tasks_of(task: str) -> tuple[str, ...]:
    """The tasks that a value of `task` names, in the order of TASKS."""
    words = ["age", "gender"] if task == "joint" else task.split("+")
    return tuple(name for name in TASKS if name in words)


_GROUP_LOSSES = ("cross_entropy", "label_distribution", "mean_variance", "coral", "corn")
CHOICES: dict[str, tuple[str, ...]] = {
    "data.label_policy": labels.LABEL_POLICIES,
    "data.interpolation": ("bilinear", "area", "reduced"),
    "data.mean": ("image", "channel", "imagenet", "clip", "none"),
    "data.deviation": ("none", "channel", "imagenet", "clip"),
    "data.channels": ("bgr", "rgb", "grey"),
    "data.validation": ("subject", "none", "image_leaky"),
    "data.placement": ("auto", "device", "host", "stream"),
    "model.name": tuple(MODEL_OPTIONS),
    "model.dtype": ("float32", "bfloat16"),
    "loss.age": _GROUP_LOSSES,
    "loss.years": (*_GROUP_LOSSES, "l1", "huber", "gaussian"),
    "loss.class_weights": ("none", "balanced"),
    "loss.balance": ("weights", "uncertainty"),
    "optim.name": ("sgd", "adamw"),
    "optim.schedule": ("step", "constant", "cosine", "one_cycle"),
    "eval.protocol": ("cross_validation", "hold_out"),
    "eval.crops": ("center", "mirror", "ten"),
    "eval.checkpoint": ("last", "best"),
    "eval.figure": ("auto", "exact", "one_off", "mae"),
}
# Inclusive bounds.
BOUNDS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "steps": (1, 10**9),
    "epochs": (1e-3, 10**6),
    "data.most_frontal": (0, 10**9),
    "data.train_share": (0.001, 1.0),
    "data.resize": (8, 4096),
    "data.crop": (8, 4096),
    "data.crop_margin": (-0.4, 4.0),
    "data.rotation": (0.0, 180.0),
    "data.zoom": (0.0, 0.9),
    "data.brightness": (0.0, 1.0),
    "data.contrast": (0.0, 1.0),
    "data.saturation": (0.0, 1.0),
    "data.erasing": (0.0, 1.0),
    "data.mixup": (0.0, 100.0),
    "data.cutmix": (0.0, 100.0),
    "data.validation_fraction": (0.001, 0.9),
    "data.batch_size": (1, 10**6),
    "data.dispatch": (0, 10**6),
    "data.memory_share": (0.0, 1.0),
    "data.workers": (0, 1024),
    "model.width": (0.01, 16.0),
    "model.depth": (1, 128),
    "model.dropout": (0.0, 0.99),
    "model.drop_path": (0.0, 0.99),
    "model.head_dropout": (0.0, 0.99),
    "loss.label_smoothing": (0.0, 0.99),
    "loss.deviation": (0.05, 50.0),
    "loss.mean": (0.0, 1e3),
    "loss.variance": (0.0, 1e3),
    "loss.huber_delta": (0.01, 100.0),
    "loss.expectation": (0.0, 1e3),
    "optim.learning_rate": (0.0, 1e3),
    "optim.momentum": (0.0, 0.9999),
    "optim.weight_decay": (0.0, 1e3),
    "optim.warmup_steps": (0, 10**9),
    "optim.decay_every": (1, 10**9),
    "optim.decay_factor": (0.0, 1.0),
    "optim.rise": (0.0, 1.0),
    "optim.clip_norm": (0.0, 1e6),
    "optim.accumulate": (1, 10**6),
    "optim.ema": (0.0, 0.999999),
    "eval.patience": (0, 10**6),
    "eval.batch_size": (1, 10**6),
    "eval.every": (1, 10**9),
    "eval.log_every": (1, 10**9),
}
# Two ways to say one thing; the second, where it is set, is what holds.
ALTERNATIVES = (("steps", "epochs"), ("folds", "fold"))
# May differ between a run and its continuation: which folds, where pixels lie, where datasets lie, how
# faces are cut out of other photographs.
# They change neither the recipe nor what a finished fold's figures mean.
CONTINUABLE = (
    "fold",
    "folds",
    "data.crop_margin",
    "data.dir",
    "data.eyes",
    "data.manual_dir",
    "data.placement",
    "data.dispatch",
    "data.memory_share",
    "data.prepared",
    "data.workers",
)
