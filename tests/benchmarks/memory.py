"""Measures how time and memory grow with the number of images: builds, streamed training, evaluation.

    python -m tests.benchmarks.memory [--faces=2000,4000,8000,16000] [--tasks=build,train,evaluate]

README.md says what is measured, and what is not.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ageflax import config as configuration
from ageflax.config import Config
from ageflax.data.building import find
from ageflax.errors import InputError, RunError
from ageflax.evaluation import evaluate_model, settings
from ageflax.runtime import command_line, files
from ageflax.runtime.progress import say
from ageflax.training import cross_validation
from tests.benchmarks import machine

_ROOT = Path(__file__).parents[2]
_PHOTOS, _SIDE = 20, 32  # of each drawn person
_FAR = 500_000  # what the fit is extended to


def _dataset(faces: int, seed: int = 0) -> str:
    return f"synthetic_faces/people_{faces // _PHOTOS}_photos_{_PHOTOS}_size_{_SIDE}_seed_{seed}"


def _config(name: str, folder: Path, *, steps: int) -> Config:
    """A narrow network on streamed faces: nearly all memory is the data's."""
    values = {
        "data.name": name,
        "data.dir": folder,
        "data.resize": _SIDE,
        "data.crop": 27,
        "data.batch_size": 100,
        "data.placement": "stream",
        "data.prepared": False,
        "model.width": 0.05,
        "optim.learning_rate": 1e-6,
        "fold": 0,
        "steps": steps,
        "eval.every": steps,
        "eval.log_every": max(steps // 4, 1),
    }
    words = [f"--config.{key}={value}" for key, value in values.items()]
    return configuration.load(str(_ROOT / "configs" / "levi.py"), words)


def _build(faces: int, folder: Path) -> None:
    find.open_dataset(_dataset(faces), directory=str(folder), say=lambda line: None)


def _train(faces: int, folder: Path) -> None:
    """One pass over all folds but one, its validation and its test."""
    steps = max(faces * 7 // 10 // 100, 1)
    config = _config(_dataset(faces), folder, steps=steps)
    with tempfile.TemporaryDirectory() as workdir:
        cross_validation.run(config, Path(workdir), say=lambda line: None)


def _evaluate(faces: int, folder: Path) -> None:
    """Evaluates a bundle on every face of a dataset that it was not trained on."""
    words = [
        f"--config.data.name={_dataset(faces)}",
        f"--config.data.dir={folder}",
        "--config.data.prepared=false",
        "--config.folds=(0,1,2,3,4)",
    ]
    with tempfile.TemporaryDirectory() as output:
        evaluate_model.run(
            folder / "model" / "fold_0" / "bundle",
            settings.of_words(words),
            Path(output) / "tested",
            say=lambda line: None,
        )


_TASKS: dict[str, Callable[[int, Path], None]] = {
    "build": _build,
    "train": _train,
    "evaluate": _evaluate,
}


def _peak() -> int:
    """Peak memory of this process, bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage's peak includes the parent's at the fork
        lines = status.read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _child(task: str, faces: int, folder: Path) -> None:
    started, worked = machine.clock(), time.process_time()
    _TASKS[task](faces, folder)
    # On a busy machine, CPU seconds say more than the clock's.
    taken = {"seconds": machine.clock() - started, "cpu_seconds": time.process_time() - worked}
    print(json.dumps({**taken, "bytes": _peak()}))


def _measured(task: str, faces: int, folder: Path) -> dict[str, float]:
    """Runs a task in its own process, to measure its own peak."""
    words = ["-m", "tests.benchmarks.memory", "--child", task, str(faces), str(folder)]
    done = subprocess.run(
        [sys.executable, *words], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RunError(f"{task} of {faces} faces ended with {done.returncode}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def fitted(faces: Sequence[int], values: Sequence[float]) -> dict[str, float]:
    """Fits a straight line by least squares.

    Returns:
      "at_zero" and "per_face"; "r2", the share of the variance explained (1 if there is none); "bend", the growth
      in the second half of the sizes over the growth in the first: 1 is linear, 2 is nearly quadratic; "far",
      the value at 500,000 faces.
    """
    n, y = np.array(faces, float), np.array(values, float)
    per_face, at_zero = np.polyfit(n, y, 1)
    spread = float(np.square(y - y.mean()).sum())
    rest = float(np.square(y - at_zero - per_face * n).sum())
    middle = len(n) // 2
    early = (y[middle] - y[0]) / (n[middle] - n[0])
    late = (y[-1] - y[middle]) / (n[-1] - n[middle]) if len(n) > 2 else early
    return {
        "at_zero": float(at_zero),
        "per_face": float(per_face),
        "r2": 1.0 - rest / spread if spread else 1.0,
        "bend": float(late / early) if early else float("nan"),
        "far": float(at_zero + per_face * _FAR),
    }


def measure(tasks: Sequence[str], sizes: Sequence[int], folder: Path) -> dict[str, Any]:
    """Seconds and peak bytes of each task at each size, and their fits."""
    if "evaluate" in tasks:
        say("training a model to evaluate")
        config = _config(_dataset(1000, seed=1), folder, steps=1)  # faces of another dataset
        cross_validation.run(config, folder / "model", say=lambda line: None)
    found: dict[str, Any] = {}
    for faces in sizes:
        # All tasks need the dataset.
        for task in ("build", *(task for task in tasks if task != "build")):
            point = {"faces": faces, **_measured(task, faces, folder)}
            say(f"{task}, {faces} faces: {point['seconds']:.1f} s, {point['bytes'] / 1e6:.0f} MB")
            if task in tasks:
                found.setdefault(task, {"points": []})["points"].append(point)
    for results in found.values():
        for key in ("seconds", "cpu_seconds", "bytes"):
            results[f"{key}_fit"] = fitted(sizes, [point[key] for point in results["points"]])
    return found


def markdown(described: dict[str, Any], found: dict[str, Any]) -> str:
    """The results as GitHub's Markdown."""
    lines = ["| | faces | s | CPU s | peak MB |", "| --- | --: | --: | --: | --: |"]
    for task, results in found.items():
        lines += [
            f"| {task} | {point['faces']} | {point['seconds']:.1f} | {point['cpu_seconds']:.1f} |"
            f" {point['bytes'] / 1e6:.0f} |"
            for point in results["points"]
        ]
    lines += [
        "",
        "| straight line | CPU s | ms a face | R2 | bend | MB | bytes a face | at 500,000 |",
    ]
    lines.append("| --- " + "| --: " * 7 + "|")
    for task, results in found.items():
        work, held = results["cpu_seconds_fit"], results["bytes_fit"]
        lines.append(
            f"| {task} | {work['at_zero']:.1f} | {work['per_face'] * 1e3:.2f} | {work['r2']:.3f} |"
            f" {work['bend']:.2f} | {held['at_zero'] / 1e6:.0f} | {held['per_face']:.0f} |"
            f" {work['far'] / 60:.0f} min, {held['far'] / 1e9:.2f} GB |"
        )
    return "\n".join([machine.headline(described), "", *lines])


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"--faces={text}: expected numbers, such as 2000,4000,8000") from error
    least = 40 * _PHOTOS  # fewer people lack an age group
    if len(sizes) < 2 or sizes != sorted(set(sizes)) or sizes[0] < least:
        raise InputError(
            f"--faces={text}: expected two or more, ascending, the first {least} or more"
        )
    return sizes


def _run(options: argparse.Namespace, words: Sequence[str]) -> None:
    tasks, sizes = options.tasks.split(","), _sizes(options.faces)
    if unknown := [task for task in tasks if task not in _TASKS]:
        raise InputError(f"--tasks: {unknown[0]!r} is none of {', '.join(_TASKS)}")
    described = machine.describe("tests.benchmarks.memory", words)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(tasks, sizes, Path(folder))
    if options.output:
        files.write_json(options.output, {"machine": described, "tasks": found})
    print(markdown(described, found))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.memory",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--faces", default="2000,4000,8000,16000", help="sizes, ascending")
    parser.add_argument("--tasks", default=",".join(_TASKS))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(words)
    if options.child:
        task, faces, folder = options.child
        name = f"{task} of {faces} faces"
        return command_line.run(name, lambda: _child(task, int(faces), Path(folder)))
    return command_line.run("tests.benchmarks.memory", lambda: _run(options, words))


if __name__ == "__main__":
    sys.exit(main())
