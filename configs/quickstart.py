"""The embedded default: faces drawn on the spot, all five folds, under two minutes on two cores.

python -m ageflax.main --config=configs/quickstart.py
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "joint"
    config.epochs = 10.0

    config.data = data = ConfigDict()
    data.name = "synthetic_faces/default"
    data.resize = 64
    data.crop = 59
    data.batch_size = 32

    config.model = model = ConfigDict()
    model.name = "levi_hassner"
    model.width = 0.25
    model.norm = "batch"
    model.initialization = "he"

    config.optim = optim = ConfigDict()
    optim.name = "adamw"
    optim.learning_rate = 1e-3
    optim.weight_decay = 0.01
    optim.schedule = "cosine"
    optim.lr_multipliers = ()
    optim.decay_exempt = (".*/bias", ".*/scale")

    config.eval = evaluation = ConfigDict()
    evaluation.every = 100
    evaluation.log_every = 20
    return config
