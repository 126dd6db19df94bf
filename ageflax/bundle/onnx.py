"""Models as .onnx files: the contract that export writes and evaluation reads.

* Input `images`: uint8[batch, resize, resize, 3], RGB, decoded and stretched; the batch is dynamic. The
  model itself crops, subtracts the mean, divides by the std and orders the channels.
* Outputs: `TASK_probabilities`, float32[batch, classes], for each head: age, years, gender. A head for
  years without a distribution (`loss.years` of l1 or huber) has the output `age` instead.
* Output `age`: float32[batch] or [batch, 1], years; for every model with a head for ages.
* metadata_props["ageflax.config"]: JSON, config.json of the exported bundle, unchanged. Its keys
  `heads`, `age_groups`, `input`, `data`, `source` and `protocol` are used.
* metadata_props["ageflax.crops"]: views that the model averages, as eval.crops; center if absent.
* metadata_props["ageflax.layout"]: layout of the input; nhwc_rgb_uint8 (the default), or that of a file
  for other programs, which takes the crop itself.
* One file: weights in other files are refused, wherever they lie.

onnx and onnxruntime are an optional extra, imported when a file is opened.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ageflax.bundle.description import Description
from ageflax.errors import InputError, RunError, first_line, one_line
from ageflax.weights.formats import foreign
from ageflax.weights.formats.safetensors import sha256

METADATA_KEY = "ageflax.config"
_CROPS_KEY, _LAYOUT_KEY, _LAYOUT = "ageflax.crops", "ageflax.layout", "nhwc_rgb_uint8"
_MOST_BYTES = (1 << 31) - 1  # protobuf's limit
INPUT = "images"
AGE = "age"


def output_name(task: str) -> str:
    """Name of the output with a task's probabilities."""
    return f"{task}_probabilities"


def _elsewhere(message: Any) -> str | None:
    """Location of the first tensor outside the file; None if there is none."""
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        for inner in value if isinstance(value, Sequence) or hasattr(value, "add") else (value,):
            if inner.DESCRIPTOR.full_name == "onnx.TensorProto" and (
                inner.data_location == inner.EXTERNAL or inner.external_data
            ):
                places = {entry.key: entry.value for entry in inner.external_data}
                return places.get("location", "")
            if (found := _elsewhere(inner)) is not None:
                return found
    return None


def _content(path: Path, onnx: Any) -> bytes:
    """Content of an ONNX file, checked to contain its own weights."""
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise InputError(f"{path}: not a readable ONNX file: {size} bytes exceed 2 GiB")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # a class of protobuf's own
        raise InputError(f"{path}: not a readable ONNX file: damaged, or cut off") from error
    if (place := _elsewhere(model)) is not None:
        raise InputError(
            f"{path}: weights in another file, {place[:100]!r}, are not read; save the model as one file"
        )
    return content


def _session(path: Path) -> Any:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"{path}: {error.name or 'onnxruntime'} is not installed, which reads ONNX files:"
            ' pip install "ageflax[onnx]", or uv run --extra onnx python -m ...'
        ) from error
    # By content, not by name: what was checked is what runs, and no other file is opened.
    content = _content(path, onnx)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised and reported below
    # Azure's would send faces to a server.
    providers = [p for p in onnxruntime.get_available_providers() if p != "AzureExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(
            content, options, providers=providers, enable_fallback=0
        )
    except Exception as error:  # onnxruntime's classes have no other common base
        why = one_line(first_line(error))
        raise InputError(f"{path}: not a readable ONNX file: {why}") from error


def _description(path: Path, metadata: Mapping[str, str]) -> Description:
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise InputError(
            f"{path}: not exported by ageflax: its metadata has no {METADATA_KEY}, which names classes"
            f" and input; import it: {foreign.command('onnx', path)}"
        )
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {METADATA_KEY} in its metadata is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: {METADATA_KEY} in its metadata is not a JSON object")
    return Description.from_json(config, path)


class OnnxModel:
    """An exported model, run by onnxruntime.

    Args:
      path: .onnx file.

    Attributes:
      path: see Args.
      description: description of the exported bundle.
      crops: views that the model averages.

    Raises:
      InputError: onnxruntime is not installed, or the file is damaged or breaks the contract.
    """

    def __init__(self, path: Path):
        self.path, self._session = path, _session(path)
        try:
            metadata = self._session.get_modelmeta().custom_metadata_map
            self._inputs, self._found = self._session.get_inputs(), self._session.get_outputs()
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: not a readable ONNX file: a name in it is not UTF-8"
            ) from error
        self.description = _description(path, metadata)
        self.crops = metadata.get(_CROPS_KEY, "center")
        self._layout = metadata.get(_LAYOUT_KEY, _LAYOUT)
        self._check()

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return sha256(self.path)

    def _check(self) -> None:
        """Raises InputError if inputs or outputs do not fit the description."""
        resize = self.description.input.resize
        if self._layout != _LAYOUT:
            raise InputError(
                f"{self.path}: exported with --layout={one_line(self._layout, 40)}, for programs that"
                f" crop faces themselves; export it with --layout={_LAYOUT}"
            )
        inputs = {found.name: found for found in self._inputs}
        if set(inputs) != {INPUT} or inputs[INPUT].type != "tensor(uint8)":
            listed = ", ".join(f"{name} {found.type}" for name, found in inputs.items())
            raise InputError(
                f"{self.path}: expected one input, {INPUT} tensor(uint8); has {one_line(listed)}"
            )
        shape = inputs[INPUT].shape
        # A dynamic dimension is a name or None.
        fits = len(shape) == 4 and all(
            size == wanted or not isinstance(size, int)
            for size, wanted in zip(shape[1:], (resize, resize, 3), strict=True)
        )
        if not fits or isinstance(shape[0], int):
            raise InputError(
                f"{self.path}: {INPUT} has shape {one_line(str(shape))}, expected [batch,"
                f" {resize}, {resize}, 3] with a dynamic batch"
            )
        self._outputs: dict[str, tuple[str, int]] = {}
        there = {found.name for found in self._found}
        for task, classes in self.description.heads.items():
            name, columns = output_name(task), len(classes)
            if name not in there and task == "years":
                name, columns = AGE, 1
            if name not in there:
                raise InputError(f"{self.path}: no output {name} for its head {task}")
            self._outputs[task] = name, columns

    def __call__(self, faces: np.ndarray) -> dict[str, np.ndarray]:
        """Gives probabilities per task, float32[b, classes], for faces uint8[b, resize, resize, 3], RGB.

        A head for years without a distribution gives one column, the age itself.

        Raises:
          RunError: onnxruntime fails.
        """
        names = [name for name, _ in self._outputs.values()]
        try:
            values = self._session.run(names, {INPUT: faces})
        except Exception as error:
            why = one_line(first_line(error))
            raise RunError(f"{self.path}: onnxruntime failed: {why}") from error
        found = {}
        for (task, (name, columns)), value in zip(self._outputs.items(), values, strict=True):
            scores = np.asarray(value, np.float32)
            if scores.size != len(faces) * columns:
                raise RunError(
                    f"{self.path}: output {name} has shape {scores.shape} for {len(faces)} faces,"
                    f" expected {columns} columns"
                )
            found[task] = scores.reshape(len(faces), columns)
        return found
