"""Levi & Hassner 2015, the gender network: the recipe of levi.py with two classes.

    python -m ageflax.main --config=configs/levi_gender.py
    python -m ageflax.main --config=configs/levi_gender.py --config.eval.crops=ten    # over-sample

Expect on Adience, as published: 85.9 % with a single crop, 86.8 % over-sampled. Not measured here:
Adience's images are licensed.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "gender"
    config.steps = 50_000

    config.data = data = ConfigDict()
    data.name = "adience/aligned"
    data.label_policy = "strict"
    data.resize = 256
    data.crop = 227
    data.mean = "image"
    data.channels = "bgr"
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
    evaluation.crops = "center"
    evaluation.every = 1000
    return config
