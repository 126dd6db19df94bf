"""Levi & Hassner's network with batch norm in place of LRN, as the VGG seed tried it.

    python -m ageflax.main --config=configs/levi_batchnorm.py --config.task=gender

No figure is published for it. Batch norm before each ReLU takes a tenfold rate and needs neither the
paper's small deviations nor its multipliers; its scales do not decay.
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
    data.mean = "image"
    data.channels = "bgr"
    data.batch_size = 50

    config.model = model = ConfigDict()
    model.name = "levi_hassner"
    model.norm = "batch"
    model.initialization = "matched"
    model.dropout = 0.5

    config.optim = optim = ConfigDict()
    optim.name = "sgd"
    optim.learning_rate = 1e-2
    optim.momentum = 0.9
    optim.weight_decay = 5e-4
    optim.schedule = "step"
    optim.decay_every = 10_000
    optim.decay_factor = 0.1
    optim.lr_multipliers = ()
    optim.decay_exempt = (".*/bias", ".*/scale")

    config.eval = evaluation = ConfigDict()
    evaluation.crops = "center"
    evaluation.every = 1000
    return config
