"""Measures start-up times: --help, imports, first training step and first answer, from process start.

    python -m tests.benchmarks.startup [--turns=3] [--output=FILE.json]

README.md says what is measured, and what is not.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ageflax.errors import InputError, RunError
from ageflax.runtime import command_line, files
from ageflax.runtime.progress import say
from tests.benchmarks import machine

_ROOT = Path(__file__).parents[2]
_COMMANDS = ("main", "evaluate", "predict", "export", "import_weights", "compare", "wash")
_LIMIT = 600.0  # time limit of a process, seconds
_ANSWER = """
import sys
import numpy as np
from ageflax import bundle, compilation_cache
compilation_cache.enable()
model = bundle.load(sys.argv[1])
side = model.config["input"]["resize"]
answers = model(np.zeros((1, side, side, 3), np.uint8))
print({task: float(values.sum()) for task, values in answers.items()})
"""


@dataclasses.dataclass(frozen=True)
class _Question:
    """A question to time, in its own process.

    Attributes:
      name: name of the row.
      seconds: function that runs the question once and returns its seconds.
    """

    name: str
    seconds: Callable[[], float]


def _environment(cache: str) -> dict[str, str]:
    """This process's environment, with a cache of compiled programs; "" for none."""
    return machine.environment("JAX_COMPILATION_CACHE_DIR") | {"AGEFLAX_COMPILATION_CACHE": cache}


def _timed(words: Sequence[str], cache: str = "") -> float:
    """Seconds from start to end of a Python process."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words],
        cwd=_ROOT,
        env=_environment(cache),
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    if done.returncode:
        raise RunError(f"{' '.join(words[:3])} ended with {done.returncode}: {done.stderr[-500:]}")
    return time.monotonic() - started


def _to_first_step(config: str, data: Path, cache: str) -> float:
    """Seconds from a training command's start to its first logged step; the command is then killed."""
    with tempfile.TemporaryDirectory() as workdir:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, *_training(config, data, Path(workdir))],
            cwd=_ROOT,
            env=_environment(cache),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        metrics = Path(workdir) / "fold_0" / "metrics.jsonl"
        try:
            while not (metrics.is_file() and metrics.stat().st_size):
                if process.poll() is not None or time.monotonic() - started > _LIMIT:
                    raise RunError(f"{config}: no step was logged; its command says why")
                time.sleep(0.005)
            return time.monotonic() - started
        finally:
            process.kill()
            process.wait()


def _training(config: str, data: Path, workdir: Path, *, steps: int = 1000) -> list[str]:
    return [
        "-m",
        "ageflax.main",
        f"--config={config}",
        f"--workdir={workdir}",
        "--config.fold=0",
        f"--config.steps={steps}",
        f"--config.data.dir={data}",
        "--config.eval.log_every=1",
        "--config.eval.every=1000",
    ]


def _in_fresh_cache(seconds: Callable[[str], float]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return seconds(str(Path(folder) / "cache"))


def _questions(config: str, data: Path, bundle: Path, cache: str) -> list[_Question]:
    found = [_Question("python alone", lambda: _timed(["-c", "pass"]))]
    for name in _COMMANDS:
        package = _ROOT / "ageflax" / name
        if package.is_dir() or package.with_suffix(".py").is_file():
            words = ["-m", f"ageflax.{name}", "--help"]
            found.append(_Question(f"ageflax.{name} --help", lambda words=words: _timed(words)))
    for name in ("jax", "ageflax.bundle", "ageflax.training.cross_validation"):
        words = ["-c", f"import {name}"]
        found.append(_Question(f"import {name}", lambda words=words: _timed(words)))

    def step(folder: str) -> float:
        return _to_first_step(config, data, folder)

    def answer(folder: str) -> float:
        return _timed(["-c", _ANSWER, str(bundle)], folder)

    for name, seconds in (("first step", step), ("first answer", answer)):
        found += [
            _Question(f"{name}, no cache", lambda seconds=seconds: seconds("")),
            _Question(f"{name}, empty cache", lambda seconds=seconds: _in_fresh_cache(seconds)),
            _Question(f"{name}, filled cache", lambda seconds=seconds: seconds(cache)),
        ]
    return found


def _measure(config: str, turns: int) -> list[dict[str, Any]]:
    """One row per question; questions alternate, to spread a slow minute over all."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        data, workdir, cache = base / "data", base / "run", str(base / "cache")
        say("building the dataset, training a step, filling the cache")
        _timed(_training(config, data, workdir, steps=1), cache)
        _to_first_step(config, data, cache)
        questions = _questions(config, data, workdir / "fold_0" / "bundle", cache)
        _timed(["-c", _ANSWER, str(workdir / "fold_0" / "bundle")], cache)
        seconds: dict[str, list[float]] = {question.name: [] for question in questions}
        for turn in range(turns):
            for question in questions:
                seconds[question.name].append(question.seconds())
                say(f"turn {turn + 1}: {question.name}: {seconds[question.name][-1]:.2f} s")
    return [
        {"question": name, "seconds": statistics.median(values), "turns": values}
        for name, values in seconds.items()
    ]


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| from process start | seconds | fastest, slowest |", "| --- | --: | --- |"]
    for row in rows:
        fastest, slowest = min(row["turns"]), max(row["turns"])
        lines.append(f"| {row['question']} | {row['seconds']:.2f} | {fastest:.2f}, {slowest:.2f} |")
    return "\n".join(lines)


def _run(given: argparse.Namespace, words: Sequence[str]) -> None:
    if given.turns < 1:
        raise InputError(f"--turns={given.turns}: at least one is needed")
    described = machine.describe("tests.benchmarks.startup", words)
    rows = _measure(given.config, given.turns)
    result = {"machine": described, "config": given.config, "rows": rows}
    print(f"{machine.headline(described)}; {given.config}, median of {given.turns} turns:\n")
    print(_table(rows))
    if given.output is None:
        print(json.dumps(result, indent=2))
    else:
        files.write_json(given.output, result)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.startup", description=__doc__)
    parser.add_argument("--config", default="configs/quickstart.py", help="config to train")
    parser.add_argument("--turns", type=int, default=3, help="turns of each question")
    parser.add_argument("--output", type=Path, help="JSON file of all figures")
    given = parser.parse_args(words)
    return command_line.run("tests.benchmarks.startup", lambda: _run(given, words))


if __name__ == "__main__":
    sys.exit(main())
