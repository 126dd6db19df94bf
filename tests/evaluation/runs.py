"""Shared by these tests: training a run, and comparing predictions."""

import csv
from pathlib import Path

import numpy as np

from ageflax import config as configuration
from ageflax.training import cross_validation
from tests.conftest import small_values


def trained(workdir, data_dir, *overrides):
    config = configuration.resolve(small_values(data_dir), overrides)
    cross_validation.run(config, workdir, say=lambda line: None)
    return workdir


def table(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def same(path, expected, *, atol=1e-6):
    """Asserts that two predictions.csv have the same faces and agree."""
    here, there = table(path), table(expected)
    assert [row.keys() for row in here] == [row.keys() for row in there]
    for column in here[0]:
        left, right = ([row[column] for row in rows] for rows in (here, there))
        in_years = "years_" in column and "_group_" not in column
        if "_probability_" in column or in_years:
            left, right = (np.array([v or "nan" for v in x], np.float64) for x in (left, right))
            # Years are sums in float32, of a relative accuracy.
            np.testing.assert_allclose(left, right, rtol=1e-6 if in_years else 1e-7, atol=atol)
        else:
            assert left == right


def rounded(tree):
    """JSON with its numbers rounded to six digits, for results of two different programs."""
    if isinstance(tree, dict):
        return {key: rounded(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [rounded(value) for value in tree]
    return float(f"{tree:.6g}") if isinstance(tree, float) else tree
