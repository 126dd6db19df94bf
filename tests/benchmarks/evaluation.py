"""Compares the speed of evaluation with training's forward pass, on the same faces.

    python -m tests.benchmarks.evaluation [--configs=levi,resnet34] [--output=FILE.json]

README.md says what is measured.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ageflax.augment.views import training_views
from ageflax.data.batches import Batch
from ageflax.models.layers.platform import traced_for
from ageflax.runtime import command_line, files, memory
from ageflax.runtime.mesh import make_mesh
from ageflax.runtime.progress import say
from ageflax.training import program, step
from ageflax.training.state import variables_of
from tests.benchmarks import machine, training_step


def _passes(name: str, batch: int, dtype: str) -> dict[str, Callable[[], Any]]:
    """Both passes of a config's network, each from uint8 faces to its result."""
    config, mesh = training_step.plain_config(name, batch, dtype), make_mesh()
    made = program.build(config, mesh, training_faces=15_000.0)
    rng, side = np.random.default_rng(0), config.data.resize
    images = rng.integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
    mean = np.full((1, 1, 3), 120, np.float32)
    state = step.init_state(made.network, made.tx, jax.random.key(0), made.recipe, mesh, mean=mean)
    faces = jax.device_put(Batch(images, {}, np.ones(batch, bool)))

    def forward(state: Any, faces: Batch) -> Any:
        with traced_for(mesh.devices.flat[0].platform, mesh):
            views = training_views(
                state.key, faces.images, state.mean, made.recipe.preprocessing,
                std=state.deviation,
            )  # fmt: skip
            variables = {"params": state.params, "batch_stats": state.batch_stats}
            return made.network.apply(
                variables, views, train=True, rngs={"dropout": state.key}, mutable=["batch_stats"]
            )

    trained = jax.jit(forward)
    tested = step.make_eval_step(made.network, made.recipe, mesh, crops="center")
    return {
        "training's forward": lambda: trained(state, faces),
        "evaluation": lambda: tested(variables_of(state), faces.images),
    }


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Images/s of both passes, turn by turn."""
    passes = _passes(name, options.batch, options.dtype)
    seconds: dict[str, list[float]] = {key: [] for key in passes}
    for run in passes.values():
        jax.block_until_ready(run())
    for turn in range(options.turns):
        say(f"{name}: turn {turn + 1} of {options.turns}")
        for key, run in passes.items():
            started = machine.clock()
            jax.block_until_ready(run())
            seconds[key].append(machine.clock() - started)
    rates = {key: options.batch / statistics.median(found) for key, found in seconds.items()}
    ratio = rates["evaluation"] / rates["training's forward"]
    return {"config": name, "images_per_second": rates, "ratio": ratio, "seconds": seconds}


def markdown(written: dict[str, Any]) -> str:
    """The results as GitHub's Markdown."""
    head = f"{machine.headline(written['machine'])}; images/s, batch {written['batch']}"
    lines = ["| config | training's forward | evaluation | ratio |", "| --- | --: | --: | --: |"]
    for row in written["configs"]:
        rates = " | ".join(f"{rate:.3g}" for rate in row["images_per_second"].values())
        lines.append(f"| {row['config']} | {rates} | {row['ratio']:.2f} |")
    return "\n".join([f"{head}, {written['dtype']}", "", *lines])


def _run(options: argparse.Namespace, words: Sequence[str]) -> None:
    written: dict[str, Any] = {
        "machine": machine.describe("tests.benchmarks.evaluation", words),
        "batch": options.batch,
        "dtype": options.dtype,
        "configs": [],
    }
    for name in options.configs.split(","):
        written["configs"].append(measure(name, options))
        if options.output:
            files.write_json(Path(options.output), written)
    print(markdown(written))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--configs", default="levi,resnet34", help="names under configs/")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--output", default="", help="a JSON file")
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(words)
    return command_line.run("tests.benchmarks.evaluation", lambda: _run(options, words))


if __name__ == "__main__":
    memory.restart_with_huge_pages()  # as ageflax.main does
    sys.exit(main())
