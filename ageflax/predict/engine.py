"""Engines of prediction: JAX, or onnxruntime, which on CPUs answers sooner."""

import hashlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np

from ageflax.bundle.model import Answer, Member, Model
from ageflax.bundle.onnx import AGE, INPUT, output_name
from ageflax.errors import InputError, RunError, first_line
from ageflax.export.onnx.file import OPSET, OnnxFile
from ageflax.export.serving import serving

ENGINES = ("auto", "jax", "onnxruntime")
# Trunks of large convolutions between many channels: compiled for speed, Winograd's form is the faster.
_WINOGRADS = {"levi_hassner", "vgg16"}


def choose(engine: str, model: Model, *, quick: bool) -> str:
    """Resolves an engine's name to "jax" or "onnxruntime".

    "auto" is what tests/benchmarks found the faster: on CPUs onnxruntime, if it is installed, for all
    trunks but two, and for those too where compiling would take longer than it saves.

    Args:
      engine: one of ENGINES.
      model: model to compute.
      quick: see Predictor.

    Raises:
      InputError: unknown, not installed, or unable to compute the model.
    """
    if engine not in ENGINES:
        raise InputError(f"--engine={engine}: expected {', '.join(ENGINES)}")
    if model.is_onnx:
        if engine == "jax":
            raise InputError(
                f"--engine=jax: {model.name} is run by onnxruntime; name the bundle it is from"
            )
        return "onnxruntime"
    if engine != "auto":
        return engine
    if jax.default_backend() != "cpu" or not (find_spec("onnx") and find_spec("onnxruntime")):
        return "jax"
    trunks = {member.description.architecture["name"] for member in model.members}
    return "jax" if trunks <= _WINOGRADS and not quick else "onnxruntime"


_told = False


def tell(say: Callable[[str], None]) -> None:
    """Says, once per process, that "auto" is not JAX."""
    global _told
    if not _told:
        say("computing with onnxruntime, the faster on this CPU (--engine=jax for JAX)")
    _told = True


_MOST = 4
_sessions: dict[tuple[Any, ...], Answer] = {}


def _shared(member: Member, crops: str) -> Answer:
    """The session of the same network, weights and views, one for the process; the latest are kept."""
    digest = hashlib.blake2b()
    for leaf in jax.tree.leaves(member.variables):
        digest.update(np.ascontiguousarray(leaf).data)
    key = member.network, digest.digest(), crops
    if key not in _sessions:
        made = _session(member, crops)
        while len(_sessions) >= _MOST:
            del _sessions[next(iter(_sessions))]
        _sessions[key] = made
    return _sessions[key]


def _session(member: Member, crops: str) -> Answer:
    """Opens a bundle in onnxruntime, as it would be exported; holds on to nothing else of it."""
    path = str(member.path)
    served = serving(Model([member], path), layout="nhwc_rgb_uint8", crops=crops)
    session = OnnxFile(served, opset=OPSET, precision="float32").session()
    names = {
        task: output_name(task) if objective.distribution else AGE
        for task, objective in member.network.objectives.items()
    }

    def answer(faces: Any) -> Mapping[str, np.ndarray]:
        try:
            found = session.run(list(names.values()), {INPUT: np.asarray(faces)})
        except Exception as error:  # onnxruntime's classes have no other common base
            raise RunError(f"{path}: onnxruntime failed: {first_line(error)}") from error
        return {
            task: values.reshape(len(faces), -1) for task, values in zip(names, found, strict=True)
        }

    return answer


def onnxruntime_answer(model: Model, crops: str) -> Answer:
    """Opens a model's bundles in onnxruntime; gives images -> probabilities per task, any batch size.

    Args:
      model: bundle, or several, whose probabilities are averaged.
      crops: views per face.

    Raises:
      InputError: onnxruntime is not installed, or a weight is not finite.
    """
    each = [_shared(member, crops) for member in model.members if isinstance(member, Member)]
    if len(each) == 1:
        return each[0]

    def mean(faces: Any) -> Mapping[str, np.ndarray]:
        found = [answer(faces) for answer in each]
        return {task: np.mean([one[task] for one in found], axis=0) for task in found[0]}

    return mean
