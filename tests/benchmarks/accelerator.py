"""Runs every benchmark for a machine with an accelerator; the same command resumes an interrupted run.

    python -m tests.benchmarks.accelerator --manual_dir=FOLDER --output=DIR [--torch_python=PYTHON]

README.md says what is measured.
"""

import argparse
import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ageflax.errors import InputError, RunError
from ageflax.runtime import command_line, files
from ageflax.runtime.progress import say
from tests.benchmarks import machine

_FACES = "labeled_faces/faces"


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One measurement, run as its own command.

    Attributes:
      name: stem of the files it leaves in the output folder.
      module: module name for `python -m`.
      words: arguments, without the output.
      peer: True if it takes --torch_python.
      modes: True if it takes --modes (PyTorch's modes).
    """

    name: str
    module: str
    words: tuple[str, ...]
    peer: bool = True
    modes: bool = False

    def command(self, folder: Path, torch_python: str, modes: str = "") -> list[str]:
        """The command line to run."""
        found = [sys.executable, "-m", self.module, *self.words]
        if self.module == "ageflax.main":
            return [*found, f"--workdir={folder / self.name}"]
        if self.peer and torch_python:
            found.append(f"--torch_python={torch_python}")
            if self.modes and modes:
                found.append(f"--modes={modes}")
        return [*found, f"--output={folder / self.name}.json"]


def _step(config: str, batch: int, dispatch: int) -> Measurement:
    words = (f"--configs={config}", f"--batch={batch}", f"--dispatch={dispatch}")
    words = (*words, "--dtype=bfloat16", "--turns=3", "--steps=10")
    return Measurement(f"{config}_{batch}", "tests.benchmarks.training_step", words, modes=True)


def measurements(data: Sequence[str], dispatch: int) -> list[Measurement]:
    """All measurements, the most informative first.

    Args:
      data: options that name the dataset and its place.
      dispatch: steps per dispatch of the smallest network.
    """
    low = "--config.model.dtype=bfloat16"
    of_faces = (f"--config.data.name={_FACES}", "--config.data.label_policy=nearest", *data)
    long = ("--config.eval.every=10000", "--config.eval.log_every=500")
    whole = ("--steps=8000", "--log_every=1000", "--bare_steps=20", "--turns=1")
    whole = (*whole, f"--bare_dispatch={dispatch}")
    # Steps per dispatch of the larger networks: enough to hide the wait for its end.
    few = max(dispatch // 10, 1)
    return [
        _step("resnet34", 256, few),
        _step("resnet34", 512, few),
        _step("levi", 50, dispatch),
        _step("levi", 256, dispatch),
        _step("vgg16_dex", 128, few),
        _step("vit", 128, few),
        Measurement(
            "end_to_end",
            "tests.benchmarks.end_to_end",
            (f"--data={_FACES}", "--placements=device,host", *whole, low, *data),
        ),
        Measurement(
            "evaluation",
            "tests.benchmarks.evaluation",
            ("--configs=levi,resnet34", "--batch=256", "--dtype=bfloat16"),
            peer=False,
        ),
        Measurement(
            "five_folds", "ageflax.main", ("--config=configs/levi.py", low, *of_faces, *long)
        ),
    ]


def _run(options: argparse.Namespace) -> None:
    data = [f"--config.data.dir={options.data_dir}"] if options.data_dir else []
    if options.manual_dir:
        data.append(f"--config.data.manual_dir={options.manual_dir}")
    everything = measurements(data, options.dispatch)
    names = [measured.name for measured in everything]
    chosen = options.only.split(",") if options.only else names
    if unknown := set(chosen) - set(names):
        raise InputError(f"--only: {sorted(unknown)[0]!r} is none of {', '.join(names)}")
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    # Seconds of each, failed attempts included, and the names of those done.
    state = files.read_json(folder / "state.json") or {"seconds": {}, "done": []}
    failed = []
    for measured in everything:
        name = measured.name
        if name not in chosen:
            continue
        if name in state["done"]:
            say(f"{name}: in {folder} already")
            continue
        log, started = folder / f"{name}.log", machine.clock()
        say(f"{name}: {log}")
        code = _measure(measured.command(folder, options.torch_python, options.modes), log)
        state["seconds"][name] = state["seconds"].get(name, 0.0) + machine.clock() - started
        if code:
            failed.append(name)
        else:
            state["done"].append(name)
        files.write_json(folder / "state.json", state)
        print(_found(log), flush=True)
    if failed:
        raise RunError(f"{', '.join(failed)}: see their .log in {folder}; the same command goes on")


def _measure(words: Sequence[str], log: Path) -> int:
    """Runs a measurement in its own process, since one process holds the device's memory; its exit code."""
    with log.open("w") as file:
        return subprocess.run(words, stdout=file, stderr=subprocess.STDOUT, check=False).returncode


def _found(log: Path) -> str:
    """The table in the log, or else its last lines."""
    lines = log.read_text().splitlines()
    return "\n".join([line for line in lines if line.startswith("|")] or lines[-6:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.accelerator",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--manual_dir", default="", metavar="FOLDER", help="labels.csv and faces")
    parser.add_argument("--data_dir", default="", metavar="DIR", help="where datasets are built")
    parser.add_argument("--torch_python", default="", help="a Python with torch and torchvision")
    parser.add_argument("--modes", default="", help="PyTorch's modes: eager, .. (all)")
    parser.add_argument("--dispatch", type=int, default=50, help="Levi's steps in one dispatch")
    parser.add_argument("--only", default="", metavar="NAME,..", help="measurements to run (all)")
    parser.add_argument("--output", type=Path, metavar="DIR", required=True)
    options = parser.parse_args(arguments)
    return command_line.run("tests.benchmarks.accelerator", lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
