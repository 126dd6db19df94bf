"""The VGG seed's inception-like network in place of Levi and Hassner's.

    python -m ageflax.main --config=configs/inception_small.py --config.task=gender

The seed says that it brought no significant improvement over 85.9 % for gender and 49.5 % for age, and
its code has no such network any more; which modules is our choice (ageflax/models/inception_small.py).
Not measured on Adience: its images are licensed.
"""

from ml_collections import ConfigDict

BASE = "resnet_small.py"


def get_config() -> ConfigDict:
    config = ConfigDict()

    config.model = model = ConfigDict()
    model.name = "inception_small"
    return config
