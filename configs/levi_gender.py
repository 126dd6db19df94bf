"""Levi & Hassner 2015, the gender network: the recipe of levi.py with two classes.

    python -m ageflax.main --config=configs/levi_gender.py
    python -m ageflax.main --config=configs/levi_gender.py --config.eval.crops=ten    # over-sample

Expect on Adience, as published: 85.9 % with a single crop, 86.8 % over-sampled. Not measured here:
Adience's images are licensed.
"""

from ml_collections import ConfigDict

BASE = "levi.py"


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "gender"
    return config
