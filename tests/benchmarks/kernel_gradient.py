"""Measures the derivative of convolutions by their kernel: the project's form against XLA's, turn by turn.

python -m tests.benchmarks.kernel_gradient [--batch=32] [--turns=5]

Milliseconds of the derivatives by input and kernel, of every shape for which training on a CPU takes the
project's form, and of the same shapes without stride. Memory in huge pages, as in training.
"""

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ageflax.models.layers.kernel_gradient import plain_convolution, summed_gradient_convolution
from ageflax.runtime import command_line, memory
from tests.benchmarks import machine

# Side of the features, channels, features, kernel, stride, padding.
SHAPES = {
    "ResNet-34, 56 to 28": (56, 64, 128, 3, 2, 1),
    "the same, shortcut": (56, 64, 128, 1, 2, 0),
    "ResNet-34, 28 to 14": (28, 128, 256, 3, 2, 1),
    "that one, shortcut": (28, 128, 256, 1, 2, 0),
    "ResNet-34, 14 to 7": (14, 256, 512, 3, 2, 1),
    "ResNet-50, 56 to 28": (56, 128, 128, 3, 2, 1),
    "dlib, 37 to 18": (37, 32, 64, 3, 2, 0),
    "unstrided, 56": (56, 64, 64, 3, 1, 1),
    "unstrided, 28": (28, 128, 128, 3, 1, 1),
    "unstrided, 14": (14, 256, 256, 3, 1, 1),
    "unstrided 7x7, 28": (28, 64, 64, 7, 1, 3),
}
_FORMS: dict[str, Any] = {
    "summed": summed_gradient_convolution,
    "XLA": plain_convolution,
}


def _steps(shape: tuple[int, ...], batch: int) -> dict[str, Callable[[], object]]:
    side, channels, features, size, stride, padding = shape
    rng = np.random.default_rng(0)
    high = (side + 2 * padding - size) // stride + 1
    shapes = (batch, side, side, channels), (size, size, channels, features), (batch, high, high, features)  # fmt: skip
    arrays = [jax.device_put(rng.normal(size=s).astype(np.float32)) for s in shapes]

    def derivatives(form: Callable[..., jax.Array], x: jax.Array, w: jax.Array, outer: jax.Array):
        return jax.vjp(lambda x, w: form(x, w, stride, padding), x, w)[1](outer)

    return {
        name: functools.partial(jax.jit(functools.partial(derivatives, form)), *arrays)
        for name, form in _FORMS.items()
    }


def _run(options: argparse.Namespace, words: Sequence[str]) -> None:
    print(machine.headline(machine.describe("tests.benchmarks.kernel_gradient", words)), "\n")
    print("| shape | summed ms | XLA ms | XLA / summed |\n|---|--:|--:|--:|")
    for name, shape in SHAPES.items():
        steps = _steps(shape, options.batch)
        seconds: dict[str, list[float]] = {form: [] for form in steps}
        for turn in range(options.turns + 1):  # the first compiles
            for form, step in steps.items():
                began = time.perf_counter()
                jax.block_until_ready(step())
                if turn:
                    seconds[form].append(time.perf_counter() - began)
        summed, xla = (1e3 * statistics.median(seconds[form]) for form in _FORMS)
        print(f"| {name} | {summed:.1f} | {xla:.1f} | {xla / summed:.2f} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.kernel_gradient",
        description=(__doc__ or "").splitlines()[0],
        allow_abbrev=False,
    )
    parser.add_argument("--batch", type=int, default=32, help="images (default: 32)")
    parser.add_argument("--turns", type=int, default=5, help="turns of each form (default: 5)")
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(words)
    return command_line.run("tests.benchmarks.kernel_gradient", lambda: _run(options, words))


if __name__ == "__main__":
    memory.restart_with_huge_pages()  # as ageflax.main does
    sys.exit(main())
