"""Every face of a split through the network once, and what comes of it."""

from ageflax.evaluate._evaluate import (
    Ages,
    Predictions,
    ages,
    expected,
    figures,
    predict,
    write_predictions,
)

__all__ = ["Ages", "Predictions", "ages", "expected", "figures", "predict", "write_predictions"]
