"""Public names that are imported on first use."""

import subprocess
import sys

import pytest

import ageflax
from ageflax import bundle, demo, predict
from ageflax.runtime import lazy


def test_names_are_those_of_their_modules():
    assert ageflax.load is bundle.load
    assert ageflax.Predictor is predict.Predictor
    for package in (ageflax, predict, demo):
        for name in package.__all__:
            assert getattr(package, name) is not None


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'ageflax' has no attribute 'lode'$"):
        ageflax.lode  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(AttributeError, match=r"^module 'some' has no attribute 'thing'$"):
        lazy.attach("some", {})("thing")


def test_importing_the_package_is_cheap():
    code = (
        "import sys, ageflax, ageflax.predict, ageflax.demo, ageflax.export\n"
        "assert not {'jax', 'numpy', 'cv2', 'PIL', 'absl'} & set(sys.modules), sys.modules\n"
        "assert ageflax.__version__\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
