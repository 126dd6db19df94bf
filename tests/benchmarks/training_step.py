"""Compares the training step of each trunk with PyTorch's, side by side on this machine.

    python -m tests.benchmarks.training_step --torch_python=/path/to/python [--configs=levi,resnet34]

README.md says what is measured, and what is not.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ageflax import config as configuration
from ageflax.bundle.inference import network_variables
from ageflax.config import Config
from ageflax.data.batches import Batch
from ageflax.errors import InputError, RunError
from ageflax.runtime import command_line, files, memory
from ageflax.runtime.mesh import batched, make_mesh, replicated
from ageflax.runtime.progress import say
from ageflax.training import program, step
from ageflax.training.state import TrainState
from tests.benchmarks import machine
from tests.benchmarks.options import CONFIGS
from tests.benchmarks.peer import Peer

_PEER = Path(__file__).with_name("torch_peer.py")
# Forward GFLOP per image, a multiply-add counted as two; a step is three times that.
_NAMES = ("levi", "resnet34", "vgg16_dex", "vit")
# Trunks without a config of their own, and one that they take.
_TRUNKS = {"efficientnet_lite0": "resnet34"}
MODES = ("eager", "channels_last", "compiled")


def plain_config(name: str, batch: int, dtype: str) -> Config:
    """A config's network, trained whole and from scratch, with the peers' optimiser."""
    plain = {
        "optim.name": "sgd",
        "optim.momentum": 0.9,
        "optim.weight_decay": 5e-4,
        "optim.clip_norm": 0.0,
        "data.batch_size": batch,
        "model.dtype": dtype,
        "transfer.weights": "",
        "transfer.revision": "",
        "transfer.sha256": "",
        "transfer.frozen": "()",
        "transfer.unfreeze": "()",
        "transfer.cache_features": False,
        "optim.accumulate": 1,
        "optim.ema": 0.0,
    }
    if name in _TRUNKS:
        plain |= {"model.name": name, "optim.lr_multipliers": "()"}
    words = [f"--config.{key}={value}" for key, value in plain.items()]
    return configuration.load(str(_file(name)), words)


def _file(name: str) -> Path:
    return CONFIGS / f"{_TRUNKS.get(name, name)}.py"


def forward_gflop(made: program.Program, state: TrainState) -> float:
    """GFLOP of one image's forward pass at test: matrix products and convolutions."""
    variables = network_variables(state.params, state.batch_stats)

    def forward(variables: Any, view: jax.Array) -> Any:
        return made.network.apply(variables, view, train=False)

    view = jax.ShapeDtypeStruct(made.recipe.preprocessing.shape, np.float32)
    return machine.product_gflop(forward, variables, view)


class Ours:
    """The project's own step on resident faces, augmentation included.

    Args:
      config: resolved config to train.
      dispatch: steps per dispatch.
    """

    def __init__(self, config: Config, *, dispatch: int = 1):
        mesh, batch = make_mesh(), config.data.batch_size
        made = program.build(config, mesh, training_faces=15_000.0)
        rng, count = np.random.default_rng(0), 4 * batch
        side = config.data.resize
        classes = {task: len(names) for task, names in configuration.class_names(config).items()}
        labels = {
            task: rng.uniform(0, 100, count).astype(np.float32)
            if task == "years" and not made.recipe.objectives[task].outputs
            else rng.integers(0, number, count).astype(np.int32)
            for task, number in classes.items()
        }
        labels = {
            task: values.astype(np.float32) if task == "years" else values
            for task, values in labels.items()
        }
        images = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        everything = Batch(images, labels, np.ones(count, bool))
        self._faces = jax.device_put(everything, replicated(mesh))
        mean = np.full((1, 1, 3), 120, np.float32)
        self._state = step.init_state(
            made.network, made.tx, jax.random.key(0), made.recipe, mesh, mean=mean
        )
        rows = rng.integers(0, count, (dispatch, batch)).astype(np.int32)
        self._rows = jax.device_put(rows, batched(mesh, axis=1))
        self._dispatch = dispatch
        self._step: Any = made.phases[0].resident_train_step
        self.crop, self.classes = config.data.crop, next(iter(classes.values()))
        self.gflop = forward_gflop(made, self._state)

    def seconds(self, count: int) -> list[float]:
        """Seconds of a step, `count` dispatches timed one by one."""
        found = []
        for _ in range(count):
            started = machine.clock()
            self._state, metrics = self._step(self._state, self._faces, self._rows)
            jax.block_until_ready(metrics)
            found.append((machine.clock() - started) / self._dispatch)
        return found


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """A trunk's rates, ours and PyTorch's in each mode, turn by turn."""
    ours = Ours(plain_config(name, options.batch, options.dtype), dispatch=options.dispatch)
    ours.seconds(1)
    runners: dict[str, Any] = {"ageflax": ours}
    failed = {}
    if options.torch_python:
        for mode in options.modes.split(","):
            say(f"{name}: torch {mode}")
            opened = {
                "name": name, "mode": mode, "batch": options.batch, "crop": ours.crop,
                "classes": ours.classes, "dtype": options.dtype,
            }  # fmt: skip
            try:
                runners[f"torch {mode}"] = Peer(options.torch_python, _PEER, **opened)
            except RunError as error:
                failed[f"torch {mode}"] = str(error)
    seconds: dict[str, list[float]] = {key: [] for key in runners}
    first: dict[str, list[float]] = {key: [] for key in runners}
    try:
        for turn in range(options.turns):
            say(f"{name}: turn {turn + 1} of {options.turns}")
            for key, runner in runners.items():
                # The first finds caches and memory as the others left them, unlike a step of a run.
                waking, *counted = runner.seconds(1 + options.steps)
                first[key].append(waking)
                seconds[key] += counted
    finally:
        for runner in runners.values():
            if isinstance(runner, Peer):
                runner.close()
    rates = {key: options.batch / statistics.median(found) for key, found in seconds.items()}
    best = max((rate for key, rate in rates.items() if key != "ageflax"), default=None)
    return {
        "config": name,
        "batch": options.batch,
        "dtype": options.dtype,
        "gflop_per_step_image": 3 * ours.gflop,
        "images_per_second": rates,
        "tflops": 3 * ours.gflop * rates["ageflax"] / 1e3,
        "over_best_torch": None if best is None else rates["ageflax"] / best,
        "failed": failed,
        "seconds": seconds,
        "first_seconds": first,  # of each turn; excluded from the rates
    }


def markdown(written: dict[str, Any]) -> str:
    """The results as GitHub's Markdown."""
    keys = list(dict.fromkeys(k for r in written["trunks"] for k in r["images_per_second"]))
    titles = ["config", "batch", *keys, "GFLOP/s", "share of peak", "over the best of torch"]
    lines = [titles, ["---", *["--:"] * (len(titles) - 1)]]
    for r in written["trunks"]:
        rates = [r["images_per_second"].get(key) for key in keys]
        ratio = r["over_best_torch"]
        lines.append(
            [
                r["config"],
                str(r["batch"]),
                *("" if rate is None else f"{rate:.3g}" for rate in rates),
                f"{r['tflops'] * 1e3:.0f}",
                f"{r['tflops'] / written['peak_tflops']:.0%}",
                "" if ratio is None else f"{ratio:.2f}",
            ]
        )
    head = f"{machine.headline(written['machine'])}; images/s, {written['dtype']}"
    head += f"; matrix product {written['peak_tflops'] * 1e3:.0f} GFLOP/s"
    return "\n".join([head, "", *("| " + " | ".join(cells) + " |" for cells in lines)])


def _run(options: argparse.Namespace, words: Sequence[str]) -> None:
    names = options.configs.split(",")
    if unknown := [name for name in names if not _file(name).is_file()]:
        raise InputError(f"--configs: no configs/{unknown[0]}.py")
    described = machine.describe("tests.benchmarks.training_step", words)
    peak = machine.matrix_product_tflops(options.dtype)
    results: list[dict[str, Any]] = []
    written = {
        "machine": described, "dtype": options.dtype, "peak_tflops": peak, "trunks": results,
    }  # fmt: skip
    for name in names:
        results.append(measure(name, options))
        if options.output:  # a large network's turns take long: keep the results so far
            files.write_json(Path(options.output), written)
    print(markdown(written))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--configs", default=",".join(_NAMES), help="names under configs/, or efficientnet_lite0"
    )
    parser.add_argument("--torch_python", default="", help="a Python with torch and torchvision")
    parser.add_argument("--modes", default=",".join(MODES), help="PyTorch's modes")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--dispatch", type=int, default=1, help="our steps in one dispatch")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="steps per turn, after one uncounted")
    parser.add_argument("--output", default="", help="a JSON file")
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(words)
    return command_line.run("training_step", lambda: _run(options, words))


if __name__ == "__main__":
    memory.restart_with_huge_pages()  # as ageflax.main does; PyTorch's process inherits it
    sys.exit(main())
