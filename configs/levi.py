"""Levi & Hassner, Age and Gender Classification using CNNs, CVPRW 2015: the paper's recipe exactly.

    python -m ageflax.main --config=configs/levi.py                              # age
    python -m ageflax.main --config=configs/levi.py --config.task=gender
    python -m ageflax.main --config=configs/levi.py --config.eval.crops=ten      # over-sample

Expect on Adience, as published: age 49.5 % exact and 84.6 % one-off with a single crop, 50.7 % and
84.7 % over-sampled; gender 85.9 % and 86.8 %. Not measured here: Adience's images are licensed.

One thing differs from the authors' published lists: validation persons are held out of training,
where 94-95 % of the lists' validation images show a person who is also in training. Test folds are
the paper's. `--config.data.validation=image_leaky` splits as the lists do.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "age"
    config.steps = 50_000

    config.data = data = ConfigDict()
    data.name = "adience/aligned"
    data.label_policy = "strict"
    data.resize = 256
    data.crop = 227
    data.interpolation = "bilinear"
    data.mirror = True
    data.mean = "image"
    data.channels = "bgr"
    data.validation = "subject"
    data.batch_size = 50

    config.model = model = ConfigDict()
    model.name = "levi_hassner"
    model.norm = "lrn"
    model.initialization = "gaussian"
    model.dropout = 0.5

    config.optim = optim = ConfigDict()
    optim.name = "sgd"
    optim.learning_rate = 1e-3
    optim.momentum = 0.9
    optim.weight_decay = 5e-4
    optim.schedule = "step"
    optim.decay_every = 10_000
    optim.decay_factor = 0.1
    optim.lr_multipliers = (
        ("heads/.*/kernel", 10.0),
        ("heads/.*/bias", 20.0),
        (".*/bias", 2.0),
    )
    optim.decay_exempt = (".*/bias",)

    config.eval = evaluation = ConfigDict()
    evaluation.protocol = "cross_validation"
    evaluation.crops = "center"
    evaluation.checkpoint = "last"
    evaluation.every = 1000
    return config
