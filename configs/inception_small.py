"""The VGG seed's inception-like network in place of Levi and Hassner's.

    python -m ageflax.main --config=configs/inception_small.py --config.task=gender

The seed says that it brought no significant improvement over 85.9 % for gender and 49.5 % for age, and
its code has no such network any more; which modules is our choice (ageflax/models/inception_small.py).
Not measured on Adience: its images are licensed.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "age"
    config.steps = 30_000

    config.data = data = ConfigDict()
    data.name = "adience/aligned"
    data.label_policy = "strict"
    data.resize = 256
    data.crop = 227
    data.mean = "channel"
    data.deviation = "channel"
    data.channels = "bgr"
    data.batch_size = 50

    config.model = model = ConfigDict()
    model.name = "inception_small"

    config.optim = optim = ConfigDict()
    optim.name = "sgd"
    optim.learning_rate = 1e-2
    optim.momentum = 0.9
    optim.weight_decay = 5e-4
    optim.schedule = "cosine"
    optim.warmup_steps = 500
    optim.lr_multipliers = ()
    optim.decay_exempt = (".*/bias", ".*/scale")

    config.eval = evaluation = ConfigDict()
    evaluation.crops = "center"
    evaluation.every = 1000
    return config
