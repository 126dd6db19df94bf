"""The soak commands run for some seconds; leaks are told from noise."""

import signal
from typing import Any

import pytest

from tests.predict import drawn_models
from tests.soak import flat, prediction, predictors, training


def at(value: Any, look: int) -> int:
    return int(value(look)) if callable(value) else value  # pyright: ignore[reportArgumentType]


def samples(**values: Any) -> list[flat.Sample]:
    """A hundred samples; each value is a number or a function of the sample's number."""
    still: dict[str, Any] = {
        "done": 0,
        "memory": 500_000_000,
        "files": 20,
        "threads": 30,
        "disk": 1_000_000,
    }
    return [
        flat.Sample(
            seconds=float(k),
            **{name: at(value, k) for name, value in (still | values).items()},
        )
        for k in range(100)
    ]


@pytest.mark.parametrize(
    ("values", "leaks"),
    [
        ({}, []),
        # Filling caches, noise, and one peak.
        ({"memory": lambda k: min(k, 15) * 30_000_000 + 7_000_000 * (k % 3)}, []),
        ({"files": lambda k: 60 if k == 70 else 20}, []),
        ({"memory": lambda k: 500_000_000 + 400_000 * k + 20_000_000 * (k % 2)}, ["memory"]),
        ({"files": lambda k: 20 + k // 20, "threads": lambda k: 30 + k // 25}, ["files", "threads"]),
        ({"disk": lambda k: 1_000_000 + 1_000 * k}, ["disk"]),
    ],
)  # fmt: skip
def test_a_leak_is_told_from_warm_up_noise_and_a_peak(values, leaks, capsys):
    code = flat.report(samples(**values))
    printed = [line for line in capsys.readouterr().out.splitlines() if "not flat" in line]
    assert [line.split(": ")[1] for line in printed] == leaks
    assert code == bool(leaks)


def test_no_samples_are_no_success(capsys):
    assert flat.report([]) == 1
    assert capsys.readouterr().out == "too few samples; run for longer\n"


def test_training_for_some_seconds(capsys):
    before = signal.getsignal(signal.SIGTERM)
    try:
        # Pools and caches still fill in so short a time: only doubling fails.
        code = training.main(["--minutes=0.06", "--allowed=1"])
    finally:
        signal.signal(signal.SIGTERM, before)
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "fold 0: told to stop; saved at step " in printed
    assert printed.endswith("\nflat\n")


def test_prediction_for_some_seconds(capsys):
    assert prediction.main(["--minutes=0.03", "--allowed=1"]) == 0, capsys.readouterr().out
    printed = capsys.readouterr().out
    assert printed.endswith("\nflat\n")
    assert " faces, " in printed


def test_some_predictors_and_calls(tmp_path, capsys):
    words = ["--predictors=8", "--calls=8", "--detector=none", "--allowed=1"]
    model = drawn_models.write(tmp_path / "bundle")
    assert predictors.main([*words, f"--model={model}"]) == 0, capsys.readouterr().out
    printed = capsys.readouterr().out
    assert "8 predictors, each with one answer\n" in printed
    assert printed.endswith("\nflat\n")
