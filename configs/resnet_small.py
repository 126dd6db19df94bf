"""The VGG seed's resnet-like network in place of Levi and Hassner's.

    python -m ageflax.main --config=configs/resnet_small.py --config.task=gender

The seed says that it brought no significant improvement over 85.9 % for gender and 49.5 % for age.
Not measured on Adience: its images are licensed.
"""

from ml_collections import ConfigDict

BASE = "levi.py"


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.steps = 30_000

    config.data = data = ConfigDict()
    data.mean = "channel"
    data.deviation = "channel"

    config.model = model = ConfigDict()
    model.name = "resnet_small"

    config.optim = optim = ConfigDict()
    optim.learning_rate = 1e-2
    optim.schedule = "cosine"
    optim.warmup_steps = 500
    optim.lr_multipliers = ()
    optim.decay_exempt = (".*/bias", ".*/scale")
    return config
