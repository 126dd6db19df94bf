"""Compares a fold's sustained images/s, input and logging included, with its bare step's.

    python -m tests.benchmarks.end_to_end [--config=levi] [--steps=40] [--torch_python=PYTHON]

README.md says what is measured, and what is not.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ageflax import config as configuration
from ageflax.config import Config
from ageflax.data.building import find
from ageflax.errors import InputError, RunError
from ageflax.runtime import command_line, files, memory
from ageflax.runtime.progress import say
from ageflax.training import cross_validation
from tests.benchmarks import machine
from tests.benchmarks.options import CONFIGS, check_config, parsed
from tests.benchmarks.peer import Peer
from tests.benchmarks.training_step import MODES, Ours

_PEER = Path(__file__).with_name("torch_loop_peer.py")
# Number of files that the peer reads, repeated if an epoch has more.
_FILES = 2_000
_PLACEMENTS = ("device", "host", "stream")


def _config(options: argparse.Namespace, placement: str, data_dir: str) -> Config:
    """A config's recipe from scratch on drawn faces, one fold, validated only at its end."""
    values = {
        "data.name": options.data,
        "data.dir": data_dir,
        "data.placement": placement,
        "data.label_policy": "nearest",
        "data.intervals": "()",
        "transfer.weights": "",
        "transfer.frozen": "()",
        "transfer.unfreeze": "()",
        "transfer.cache_features": False,
        "fold": 0,
        "steps": options.steps,
        "eval.every": options.steps,
        "eval.log_every": options.log_every,
        "optim.learning_rate": 1e-5,  # random weights would diverge at a tuned one
        "optim.warmup_steps": 0,
        "optim.schedule": "constant",
    }
    words = [f"--config.{key}={value}" for key, value in values.items()]
    path = CONFIGS / f"{options.config}.py"
    return configuration.load(str(path), [*words, *options.more])


def _sustained(config: Config) -> list[float]:
    """images/s of a fold's log lines, without the first, which includes compilation and first reads."""
    with tempfile.TemporaryDirectory() as workdir:
        cross_validation.run(config, Path(workdir), say=lambda line: None)
        text = (Path(workdir) / "fold_0" / "metrics.jsonl").read_text()
    rates = [json.loads(line)["images_per_second"] for line in text.splitlines()]
    if len(rates) < 2:
        raise RunError("a fold of one log line says nothing; raise --steps or lower --log_every")
    return rates[1:]


def _loop(options: argparse.Namespace, config: Config, classes: int, folder: Path) -> Peer:
    """PyTorch's loop over the same faces, as files."""
    stored = find.open_dataset(
        config.data.name, directory=config.data.dir, manual_dir=config.data.manual_dir, say=say
    )
    for k, example in enumerate(stored.examples(range(min(len(stored), _FILES)))):
        (folder / f"{k:05d}.jpg").write_bytes(example["image"])
    return Peer(
        options.torch_python, _PEER, name=options.config, mode=options.torch_mode,
        folder=str(folder), faces=max(len(stored), config.data.batch_size),
        size=config.data.resize, crop=config.data.crop, batch=config.data.batch_size,
        classes=classes, workers=options.torch_workers, dtype=config.model.dtype,
    )  # fmt: skip


def measure(options: argparse.Namespace, data_dir: str) -> dict[str, Any]:
    """Rates of the bare step, of a fold under each placement and of PyTorch's loop, turn by turn."""
    configs = {name: _config(options, name, data_dir) for name in options.placements.split(",")}
    first = next(iter(configs.values()))
    batch = first.data.batch_size
    bare = Ours(first, dispatch=options.bare_dispatch)
    bare.seconds(1)
    rates: dict[str, list[float]] = {"bare step": []}
    with contextlib.ExitStack() as stack:
        peer = None
        if options.torch_python:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            peer = _loop(options, first, bare.classes, folder)
            stack.callback(peer.close)
        for turn in range(options.turns):
            for name, config in configs.items():
                # Before and after each fold, to meet the same machine load.
                rates["bare step"] += [batch / s for s in bare.seconds(options.bare_steps)]
                rates.setdefault(name, []).extend(_sustained(config))
                say(f"turn {turn + 1} of {options.turns}: {name}")
            rates["bare step"] += [batch / s for s in bare.seconds(options.bare_steps)]
            if peer:
                found = [batch / s for s in peer.seconds(options.steps)]
                rates.setdefault("PyTorch's loop", []).extend(found)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "config": options.config,
        "data": options.data,
        "batch": batch,
        "images_per_second": medians,
        "over_bare_step": {
            name: rate / medians["bare step"] for name, rate in medians.items() if name in configs
        },
        "rates": rates,
    }


def markdown(described: dict[str, Any], found: dict[str, Any]) -> str:
    """The results as GitHub's Markdown."""
    lines = ["| | images/s | over the bare step |", "| --- | --: | --: |"]
    for name, rate in found["images_per_second"].items():
        ratio = found["over_bare_step"].get(name)
        lines.append(f"| {name} | {rate:.3g} | {'' if ratio is None else f'{ratio:.2f}'} |")
    head = (
        f"{machine.headline(described)}; {found['config']}, batch {found['batch']}, {found['data']}"
    )
    return "\n".join([head, "", *lines])


def _run(options: argparse.Namespace, words: Sequence[str]) -> None:
    check_config(options.config)
    if unknown := set(options.placements.split(",")) - set(_PLACEMENTS):
        raise InputError(f"--placements: {unknown.pop()!r} is none of {', '.join(_PLACEMENTS)}")
    if options.torch_mode not in MODES:
        raise InputError(f"--torch_mode={options.torch_mode} is none of {', '.join(MODES)}")
    counts = (options.turns, options.bare_steps, options.bare_dispatch, options.log_every)
    if min(counts) < 1:
        raise InputError("--turns, --bare_steps, --bare_dispatch and --log_every are at least 1")
    described = machine.describe("tests.benchmarks.end_to_end", words)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, options.data_dir or folder)
    if options.output:
        files.write_json(options.output, {"machine": described, **found})
    print(markdown(described, found))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.end_to_end",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
        epilog="--config.KEY=VALUE sets a key of the config, as for ageflax.main.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", default="levi", help="a name under configs/")
    parser.add_argument(
        "--data", default="synthetic_faces/people_60_photos_4_size_256_seed_0", help="a dataset"
    )
    parser.add_argument("--data_dir", default="", help="folder in which to keep the dataset")
    parser.add_argument("--placements", default=",".join(_PLACEMENTS))
    parser.add_argument("--steps", type=int, default=40, help="steps per fold")
    parser.add_argument("--log_every", type=int, default=5, help="steps between log lines")
    parser.add_argument(
        "--bare_steps", type=int, default=5, help="steps before and after each fold"
    )
    parser.add_argument(
        "--bare_dispatch", type=int, default=1, help="steps per dispatch of the bare step"
    )
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--torch_python", default="", help="a Python with torch and torchvision")
    parser.add_argument("--torch_mode", default="compiled", help=", ".join(MODES))
    cores = os.cpu_count() or 1
    parser.add_argument("--torch_workers", type=int, default=max(cores - 1, 1), help="processes")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parsed(parser, words)
    return command_line.run("tests.benchmarks.end_to_end", lambda: _run(options, words))


if __name__ == "__main__":
    memory.restart_with_huge_pages()  # as ageflax.main does
    sys.exit(main())
