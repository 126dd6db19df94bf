"""Models as .onnx files: the contract that export writes and evaluation reads.

* Input `images`: uint8[batch, resize, resize, 3], RGB, as decoded and stretched; the batch is dynamic.
  Crop, mean, deviation and channel order are inside.
* Outputs: `TASK_probabilities`, float32[batch, classes], for each head: age, years, gender. A head that
  gives an age and no distribution (`loss.years` of l1 or huber) has none; its output is `age`.
* Output `age`: float32[batch] or [batch, 1], years; of every model that gives years.
* metadata_props["ageflax.config"]: JSON, config.json of the bundle it was made from, as it is. Read are
  `heads`, `age_groups`, `input`, and of provenance `data`, `source` and `protocol`.

onnxruntime is an optional extra, imported when a file is opened.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ageflax.errors import InputError, RunError

METADATA_KEY = "ageflax.config"
INPUT = "images"
AGE = "age"


def output_name(task: str) -> str:
    """Of the output that holds a task's probabilities."""
    return f"{task}_probabilities"


def _session(path: Path) -> Any:
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]  an optional extra
    except ImportError as error:
        raise InputError(
            f"{path}: onnxruntime, which reads ONNX files, is not installed; run the command as"
            " uv run --extra onnx python -m ..."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; what it finds merely odd is nobody's business here
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=onnxruntime.get_available_providers()
        )
    except Exception as error:  # its own classes, which share no base but this
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a readable ONNX file: {first}") from error


def _config(path: Path, session: Any) -> dict[str, Any]:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise InputError(
            f"{path}: its metadata has no {METADATA_KEY}, which names classes and input: it was not"
            " exported by this project"
        )
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {METADATA_KEY} of its metadata is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: {METADATA_KEY} of its metadata is no JSON object")
    return config


class OnnxModel:
    """An exported model, run by onnxruntime.

    Args:
      path: of the file.

    Attributes:
      config: of the bundle that it was made from; what it holds is for the caller to check.

    Raises:
      InputError: onnxruntime is absent, or the file is damaged or of another contract.
    """

    def __init__(self, path: Path):
        self._path, self._session = path, _session(path)
        self.config = _config(path, self._session)

    def check(self, resize: int, classes: Mapping[str, int]) -> None:
        """Raises InputError where inputs or outputs are not those that the config speaks of."""
        inputs = {found.name: found for found in self._session.get_inputs()}
        if set(inputs) != {INPUT} or inputs[INPUT].type != "tensor(uint8)":
            listed = ", ".join(f"{name} {found.type}" for name, found in inputs.items())
            raise InputError(
                f"{self._path}: expected one input, {INPUT} tensor(uint8); has {listed}"
            )
        shape = inputs[INPUT].shape
        # A dimension without a fixed size is a name, or None.
        fits = len(shape) == 4 and all(
            size == wanted or not isinstance(size, int)
            for size, wanted in zip(shape[1:], (resize, resize, 3), strict=True)
        )
        if not fits or isinstance(shape[0], int):
            raise InputError(
                f"{self._path}: {INPUT} is of shape {shape}; expected [batch, {resize}, {resize}, 3]"
                " with a dynamic batch"
            )
        self._outputs: dict[str, tuple[str, int]] = {}
        there = {found.name for found in self._session.get_outputs()}
        for task, columns in classes.items():
            name = output_name(task)
            if name not in there and task == "years":
                name, columns = AGE, 1
            if name not in there:
                raise InputError(f"{self._path}: no output {name}, though it has a head for {task}")
            self._outputs[task] = name, columns

    def __call__(self, faces: np.ndarray) -> dict[str, np.ndarray]:
        """Probabilities float32[b, classes] per task of uint8[b, resize, resize, 3] faces, RGB.

        A years' head without a distribution gives one column, the age itself. After `check`.

        Raises:
          RunError: onnxruntime fails.
        """
        names = [name for name, _ in self._outputs.values()]
        try:
            values = self._session.run(names, {INPUT: faces})
        except Exception as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise RunError(f"{self._path}: onnxruntime failed: {first}") from error
        found = {}
        for (task, (name, columns)), value in zip(self._outputs.items(), values, strict=True):
            scores = np.asarray(value, np.float32)
            if scores.size != len(faces) * columns:
                raise RunError(
                    f"{self._path}: output {name} of {len(faces)} faces is of shape {scores.shape},"
                    f" and {columns} columns were expected"
                )
            found[task] = scores.reshape(len(faces), columns)
        return found
