"""Levi & Hassner's network with SELU, the VGG seed's best change.

    python -m ageflax.main --config=configs/levi_selu.py --config.task=gender

The seed reports 2 % more for gender than with ReLU (its own hold-out). It keeps LRN and the ordinary
dropout and changes the activation alone; so does this, and LeCun's initialisation goes with it, which
expects inputs of unit deviation: with pixels up to 255 as they are, or the paper's multipliers, the
loss runs off within 5 steps. 200 steps on 6,656 real faces, 71 pixels: loss 0.70 to 0.56, gender 74.4
% (floor 51.3).
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
    data.deviation = "channel"
    data.channels = "bgr"
    data.batch_size = 50

    config.model = model = ConfigDict()
    model.name = "levi_hassner"
    model.norm = "lrn"
    model.activation = "selu"
    model.initialization = "matched"
    model.dropout = 0.5

    config.optim = optim = ConfigDict()
    optim.name = "sgd"
    optim.learning_rate = 1e-3
    optim.momentum = 0.9
    optim.weight_decay = 5e-4
    optim.schedule = "step"
    optim.decay_every = 10_000
    optim.decay_factor = 0.1
    optim.lr_multipliers = ()
    optim.decay_exempt = (".*/bias",)

    config.eval = evaluation = ConfigDict()
    evaluation.crops = "center"
    evaluation.every = 1000
    return config
