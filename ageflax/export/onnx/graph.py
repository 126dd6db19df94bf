"""An ONNX graph while it grows: nodes, weights, and which axis of a tensor is which in JAX.

JAX's images are N, H, W, C and ONNX's convolutions N, C, H, W. A tensor therefore carries its layout,
and nothing is transposed before something needs another one: between convolutions, nothing ever.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

BATCH = "batch"


@dataclasses.dataclass(frozen=True, eq=False)
class Const:
    """A value that is known while exporting; weights are.

    Attributes:
      value: in JAX's order of axes; of size 1 along axes over which it is still to be broadcast.
      name: of the weight it was made from, or "".
    """

    value: np.ndarray
    name: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of `value`."""
        return self.value.shape


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A value that is known when the model runs.

    Attributes:
      name: in the graph.
      shape: in JAX's order of axes; a symbol for what depends on the batch; 1 along axes over which it
        is still to be broadcast.
      layout: the JAX axis that each of its axes in the graph is.
      origin: what it was computed by, and of what: a JAX primitive's name, its parameters, its inputs.
    """

    name: str
    shape: tuple[Any, ...]
    layout: tuple[int, ...]
    origin: tuple[str, dict[str, Any], tuple["Value", ...]] | None = None

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    def place(self, axis: int) -> int:
        """Where a JAX axis lies in the graph's tensor."""
        return self.layout.index(axis)


Value = Const | Tensor


@dataclasses.dataclass
class Node:
    """One operation.

    Attributes:
      kind: its ONNX operator.
      inputs: names of tensors and weights.
      output: name of what it computes.
      attributes: of the operator.
    """

    kind: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]


class Graph:
    """Nodes in the order in which they run, and the arrays that they read.

    Args:
      source: name of the input whose first axis is the batch.
      batch: the symbol that stands for it in JAX's shapes.
      opset: the version of ONNX's operators.

    Attributes:
      nodes: in order.
      weights: arrays by name.
    """

    def __init__(self, source: str, batch: Any, *, opset: int):
        self.nodes: list[Node] = []
        self.weights: dict[str, np.ndarray] = {}
        self.opset = opset
        self._source, self._batch = source, batch
        self._known: dict[Any, str] = {}
        self._count = 0

    def _fresh(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Adds a node; returns the name of its output."""
        output = self._fresh(kind.lower())
        self.nodes.append(Node(kind, list(inputs), output, attributes))
        return output

    def weight(self, array: np.ndarray, name: str = "") -> str:
        """Adds an array, once however often it is asked for; returns its name."""
        array = np.ascontiguousarray(array)
        if array.size <= 4096:
            key: Any = (array.dtype.str, array.shape, array.tobytes())
            if key in self._known:
                return self._known[key]
            self._known[key] = name = self._unused(name)
        else:
            name = self._unused(name)
        self.weights[name] = array
        return name

    def _unused(self, name: str) -> str:
        if name and name not in self.weights:
            return name
        return self._fresh(name or "constant")

    def integers(self, values: Sequence[int]) -> str:
        """Adds a vector of int64, as axes and shapes are; returns its name."""
        return self.weight(np.array(values, np.int64))

    def laid(self, value: Value, layout: Sequence[int]) -> str:
        """The name of a value with its axes in that order."""
        layout = tuple(layout)
        if isinstance(value, Const):
            return self.weight(np.transpose(value.value, layout), value.name)
        if value.layout == layout:
            return value.name
        key = (value.name, layout)
        if key not in self._known:
            order = [value.place(axis) for axis in layout]
            self._known[key] = self.node("Transpose", [value.name], perm=order)
        return self._known[key]

    def plain(self, value: Value) -> str:
        """The name of a value with its axes as JAX has them."""
        return self.laid(value, range(len(value.shape)))

    def multiple(self, size: Any) -> int | None:
        """How many times the batch a size is; None of a number.

        Raises:
          NotImplementedError: it depends on the batch otherwise.
        """
        if isinstance(size, int | np.integer):
            return None
        for k in (1, 2, 10):  # views a face
            if size == k * self._batch:
                return k
        raise NotImplementedError(f"a tensor with an axis of {size}")

    def target(self, shape: Sequence[Any]) -> str:
        """A vector with the sizes of a shape, of which the batch is known when the model runs."""
        if all(self.multiple(size) is None for size in shape):
            return self.integers([int(size) for size in shape])
        if BATCH not in self._known:
            sizes = self.node("Shape", [self._source])
            self._known[BATCH] = self.node("Gather", [sizes, self.integers([0])], axis=0)
        parts = []
        for size in shape:
            k = self.multiple(size)
            if k is None:
                parts.append(self.integers([int(size)]))
            elif k == 1:
                parts.append(self._known[BATCH])
            else:
                parts.append(self.node("Mul", [self._known[BATCH], self.integers([k])]))
        return self.node("Concat", parts, axis=0)

    def broadcast(self, value: Value, shape: Sequence[Any]) -> Value:
        """The value with all its axes of the sizes that JAX says."""
        if all(have == want for have, want in zip(value.shape, shape, strict=True)):
            return value
        if isinstance(value, Const) and all(self.multiple(size) is None for size in shape):
            return Const(np.broadcast_to(value.value, [int(n) for n in shape]), value.name)
        name = self.node("Expand", [self.plain(value), self.target(shape)])
        return Tensor(name, tuple(shape), tuple(range(len(shape))))

    def rename(self, old: str, new: str) -> None:
        """Gives a node's output another name."""
        for node in self.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
            if node.output == old:
                node.output = new
