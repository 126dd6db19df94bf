"""Writes and runs .stablehlo files, made by jax.export for JAX, TensorFlow and C++ on any platform."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ageflax.bundle import onnx
from ageflax.export.onnx.graph import BATCH
from ageflax.export.onnx.precision import compressed, restored
from ageflax.export.serving import Serving

PLATFORMS = ("cpu", "cuda", "tpu")


def described_at(path: Path) -> Path:
    """Path of the metadata beside a .stablehlo file, which cannot hold any."""
    return path.with_name(f"{path.name}.json")


@contextmanager
def _without_source_lines() -> Iterator[None]:
    """Keeps names and lines of source files, which are this machine's, out of what JAX lowers."""
    key = "jax_traceback_in_locations_limit"
    before = jax.config.values[key]
    jax.config.update(key, 0)
    try:
        yield
    finally:
        jax.config.update(key, before)


class StableHloFile:
    """A StableHLO model, weights included.

    Args:
      serving: model to export.
      precision: precision of the weights.

    Attributes:
      more: metadata of the format.
    """

    def __init__(self, serving: Serving, *, precision: str):
        variables = compressed(serving.variables, precision)
        (batch,) = jax.export.symbolic_shape(BATCH)
        given = jax.ShapeDtypeStruct((batch, *serving.shape), serving.dtype)
        names = list(serving.outputs)

        def answer(images: jax.Array) -> dict[str, jax.Array]:
            return dict(zip(names, serving(restored(variables), images), strict=True))

        with _without_source_lines():
            exported = jax.export.export(jax.jit(answer), platforms=PLATFORMS)(given)
        self._content = exported.serialize()
        self._specification = {
            "input": {onnx.INPUT: [str(serving.dtype), [BATCH, *serving.shape]]},
            "outputs": {name: ["float32", [BATCH, *s]] for name, s in serving.outputs.items()},
        }
        self.more = {
            "jax": jax.__version__,
            "calling_convention": exported.calling_convention_version,
            "platforms": ", ".join(PLATFORMS),
        }

    def write(self, path: Path) -> None:
        """Writes the file."""
        path.write_bytes(self._content)

    def describe(self, path: Path, described: dict[str, str]) -> None:
        """Writes the metadata beside the file."""
        whole = {**self._specification, "metadata": described}
        described_at(path).write_text(json.dumps(whole, indent=2) + "\n")

    def answers(self, path: Path) -> Any:
        """Loads the file into JAX; returns a function from images to the outputs by name."""
        call = jax.export.deserialize(bytearray(path.read_bytes())).call

        def answer(images: np.ndarray) -> dict[str, np.ndarray]:
            found: Any = call(images)
            return {name: np.asarray(values) for name, values in found.items()}

        return answer
