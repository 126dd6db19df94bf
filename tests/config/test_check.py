"""Bounds of the augmentation's keys, and what cached features have no use for."""

import re

import pytest

from ageflax import config as configuration
from ageflax.errors import InputError

FROZEN = ("--config.transfer.frozen=('trunk/.*',)", "--config.transfer.cache_features=1")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("shift=0.51", "data.shift = 0.51: must be between 0.0 and 0.5"),
        ("shift=-0.1", "data.shift = -0.1: must be between 0.0 and 0.5"),
        ("shift=(0.1, 0.1)", "--config.data.shift=(0.1, 0.1): expected float"),
        ("stretch=1", "data.stretch = 1.0: must be between 0.0 and 0.9"),
        ("gamma=-1", "data.gamma = -1.0: must be between 0.0 and 4.0"),
        ("cast=1", "data.cast = 1.0: must be between 0.0 and 0.9"),
        ("shade=1.5", "data.shade = 1.5: must be between 0.0 and 1.0"),
        ("grey=2", "data.grey = 2.0: must be between 0.0 and 1.0"),
        ("blur=17", "data.blur = 17.0: must be between 0.0 and 16.0"),
        ("downscale=0", "data.downscale = 0.0: must be between 1.0 and 16.0"),
        ("downscale=inf", "--config.data.downscale=inf: expected float"),
        ("noise=-1", "data.noise = -1.0: must be between 0.0 and 100.0"),
        ("noise=nan", "--config.data.noise=nan: expected float"),
        ("jpeg=101", "data.jpeg = 101: must be between 0 and 100"),
        ("jpeg=75.5", "--config.data.jpeg=75.5: expected int"),
        ("gray=0.1", "did you mean"),
    ],
)
def test_bounds(word, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        configuration.resolve({}, [f"--config.data.{word}"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "off"),
    [("rotation=5", "0"), ("shift=0.1", "0"), ("jpeg=50", "0"), ("downscale=2", "1")],
)
def test_cached_features_are_not_augmented(word, off):
    name, value = word.split("=")
    expected = f"data.{name} = {value}.*alone; set it to {off} or transfer.cache_features=false"
    with pytest.raises(InputError, match=expected):
        configuration.resolve({}, [f"--config.data.{word}", *FROZEN])
