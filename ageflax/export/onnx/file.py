"""Writes and runs .onnx files."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from ageflax import __version__
from ageflax.bundle.onnx import INPUT
from ageflax.errors import InputError, RunError, first_line
from ageflax.export.onnx.graph import BATCH, Const, Graph, plain
from ageflax.export.onnx.lower import lower
from ageflax.export.onnx.precision import compress
from ageflax.export.onnx.tidy import tidy
from ageflax.export.serving import Serving

OPSETS = range(13, 24)
OPSET = 17  # supported from onnxruntime 1.12 and OpenCV 4.8 on
_HINT = 'not installed, needed to write ONNX: pip install "ageflax[onnx]", or uv run --extra onnx'


def packages() -> tuple[Any, Any]:
    """Imports onnx and onnxruntime.

    Raises:
      InputError: one is not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{error.name or 'onnx'}: {_HINT}") from error
    return onnx, onnxruntime


def graph_of(serving: Serving, *, opset: int) -> Graph:
    """Graph of an exported model; weights are named as in the bundle."""
    (batch,) = jax.export.symbolic_shape(BATCH)
    variables = serving.variables
    images = plain(INPUT, (batch, *serving.shape))
    # A function, since JAX names what it traces, and a name of Serving would list all its weights.
    traced = jax.make_jaxpr(lambda *given: serving(*given))
    closed = traced(variables, jax.ShapeDtypeStruct(images.shape, serving.dtype))
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    weights = [
        Const(np.asarray(leaf), jax.tree_util.keystr(path, simple=True, separator="/"))
        for path, leaf in leaves
    ]
    graph = Graph(INPUT, batch, opset=opset)
    names = tuple(serving.outputs)
    lower(graph, closed, [*weights, images], names)
    tidy(graph, {INPUT}, set(names))
    return graph


def _proto(onnx: Any, graph: Graph, serving: Serving) -> Any:
    helper, kinds = onnx.helper, onnx.TensorProto
    given = kinds.UINT8 if serving.dtype == np.uint8 else kinds.FLOAT
    made = helper.make_graph(
        [
            helper.make_node(node.kind, node.inputs, [node.output], node.output, **node.attributes)
            for node in graph.nodes
        ],
        "ageflax",
        [helper.make_tensor_value_info(INPUT, given, [BATCH, *serving.shape])],
        [
            helper.make_tensor_value_info(name, kinds.FLOAT, [BATCH, *shape])
            for name, shape in serving.outputs.items()
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in graph.weights.items()],
    )
    versions = [helper.make_opsetid("", graph.opset)]
    return helper.make_model(
        made,
        opset_imports=versions,
        ir_version=helper.find_min_ir_version_for(versions),
        producer_name="ageflax",
        producer_version=__version__,
    )


class OnnxFile:
    """An ONNX model, weights included.

    Args:
      serving: model to export.
      opset: version of ONNX's operators.
      precision: precision of the weights.

    Attributes:
      more: metadata of the format.
    """

    def __init__(self, serving: Serving, *, opset: int, precision: str):
        self._onnx, self._onnxruntime = packages()
        graph = graph_of(serving, opset=opset)
        compress(graph, precision)
        self._content = _proto(self._onnx, graph, serving).SerializeToString()
        self._names = list(serving.outputs)
        self.more = {"opset": opset}

    def write(self, path: Path) -> None:
        """Writes the file and checks it.

        Raises:
          RunError: onnx's checker rejects it.
        """
        path.write_bytes(self._content)
        self._content = b""
        try:
            self._onnx.checker.check_model(str(path), full_check=True)
        except Exception as error:  # its own classes
            raise RunError(f"onnx.checker rejects the model: {first_line(error)}") from error

    def describe(self, path: Path, described: dict[str, str]) -> None:
        """Appends the metadata: consecutive protobufs are read as one."""
        model = self._onnx.ModelProto()
        self._onnx.helper.set_model_props(model, described)
        with path.open("ab") as file:
            file.write(model.SerializeToString())

    def session(self, path: Path | None = None) -> Any:
        """Opens the model in onnxruntime.

        Args:
          path: file that was written; None for the model in memory, before it is written.

        Raises:
          RunError: onnxruntime cannot read it.
        """
        options = self._onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Threads that wait would take the cores from those that decode and detect.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return self._onnxruntime.InferenceSession(
                str(path) if path else self._content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise RunError(f"onnxruntime rejects the model: {first_line(error)}") from error

    def answers(self, path: Path) -> Any:
        """Opens the file in onnxruntime; returns a function from images to the outputs by name.

        Raises:
          RunError: onnxruntime cannot read it.
        """
        session, names = self.session(path), self._names

        def answer(images: np.ndarray) -> dict[str, np.ndarray]:
            found = session.run(names, {INPUT: images})
            return dict(zip(names, found, strict=True))

        return answer
