"""Levi & Hassner's network with batch norm in place of LRN, as the VGG seed tried it.

    python -m ageflax.main --config=configs/levi_batchnorm.py --config.task=gender

No figure is published for it. Batch norm before each ReLU takes a tenfold rate and needs neither the
paper's small deviations nor its multipliers; its scales do not decay.
"""

from ml_collections import ConfigDict

BASE = "levi.py"


def get_config() -> ConfigDict:
    config = ConfigDict()

    config.model = model = ConfigDict()
    model.norm = "batch"
    model.initialization = "matched"

    config.optim = optim = ConfigDict()
    optim.learning_rate = 1e-2
    optim.lr_multipliers = ()
    optim.decay_exempt = (".*/bias", ".*/scale")
    return config
