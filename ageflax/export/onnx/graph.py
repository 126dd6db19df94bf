"""An ONNX graph under construction: nodes, weights, and the JAX axes of each tensor.

JAX's images are N, H, W, C and ONNX's convolutions N, C, H, W. A tensor therefore carries its layout
and is only transposed when an operator needs another one: never between convolutions.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BATCH = "batch"


@dataclasses.dataclass(frozen=True, eq=False)
class Const:
    """A value known at export, such as a weight.

    Attributes:
      value: array in JAX's order of axes; size 1 along axes that are yet to be broadcast.
      name: name of the weight that it was made from, or "".
    """

    value: np.ndarray
    name: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `value`."""
        return self.value.shape


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A value computed when the model runs.

    Attributes:
      name: name in the graph.
      shape: sizes in JAX's order of axes; symbolic if they depend on the batch; 1 along axes that are
        yet to be broadcast.
      layout: JAX axis of each of its axes in the graph.
      origin: name, parameters and inputs of the JAX primitive that computed it.
    """

    name: str
    shape: tuple[Any, ...]
    layout: tuple[int, ...]
    origin: tuple[str, dict[str, Any], tuple["Value", ...]] | None = None

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def place(self, axis: int) -> int:
        """Position of a JAX axis in the graph's tensor."""
        return self.layout.index(axis)

    def resized(self, name: str, sizes: Mapping[int, Any]) -> "Tensor":
        """A tensor of the same layout with other sizes along some axes."""
        shape = tuple(sizes.get(axis, size) for axis, size in enumerate(self.shape))
        return Tensor(name, shape, self.layout)

    def without(self, name: str, axes: Sequence[int]) -> "Tensor":
        """A tensor of the same layout without some axes."""
        left = [axis for axis in range(self.rank) if axis not in axes]
        layout = tuple(left.index(axis) for axis in self.layout if axis in left)
        return Tensor(name, tuple(self.shape[axis] for axis in left), layout)


def plain(name: str, shape: Sequence[Any]) -> Tensor:
    """A tensor with its axes in JAX's order."""
    return Tensor(name, tuple(shape), tuple(range(len(shape))))


def result(eqn: Any) -> tuple[Any, ...]:
    """Shape of an equation's first result."""
    return tuple(eqn.outvars[0].aval.shape)


Value = Const | Tensor


@dataclasses.dataclass
class Node:
    """One operation.

    Attributes:
      kind: ONNX operator.
      inputs: names of tensors and weights.
      output: name of its result.
      attributes: the operator's attributes.
    """

    kind: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]


class Graph:
    """Nodes in execution order and their weights.

    Args:
      source: name of the input whose first axis is the batch.
      batch: symbol of the batch size in JAX's shapes.
      opset: version of ONNX's operators.

    Attributes:
      nodes: nodes in execution order.
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
        """Adds a node; returns the name of its result."""
        output = self._fresh(kind.lower())
        self.nodes.append(Node(kind, list(inputs), output, attributes))
        return output

    def weight(self, array: np.ndarray, name: str = "") -> str:
        """Adds an array; returns its name. Small equal arrays are added once."""
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
        """Adds an int64 vector, the form of axes and shapes; returns its name."""
        return self.weight(np.array(values, np.int64))

    def laid(self, value: Value, layout: Sequence[int]) -> str:
        """Name of a value with its axes in this order, transposed if needed."""
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
        """Name of a value with its axes in JAX's order."""
        return self.laid(value, range(len(value.shape)))

    def multiple(self, size: Any) -> int | None:
        """A symbolic size as a multiple of the batch; None for a number.

        Raises:
          NotImplementedError: the size depends on the batch otherwise.
        """
        if isinstance(size, int | np.integer):
            return None
        for k in (1, 2, 6, 10):  # views a face
            if size == k * self._batch:
                return k
        raise NotImplementedError(f"a tensor with an axis of {size}")

    def target(self, shape: Sequence[Any]) -> str:
        """Name of a vector with the sizes of a shape, computed at run time if it has the batch."""
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
        """The value broadcast to a shape."""
        if all(have == want for have, want in zip(value.shape, shape, strict=True)):
            return value
        if isinstance(value, Const) and all(self.multiple(size) is None for size in shape):
            return Const(np.broadcast_to(value.value, [int(n) for n in shape]), value.name)
        return plain(self.node("Expand", [self.plain(value), self.target(shape)]), shape)

    def rename(self, old: str, new: str) -> None:
        """Renames a node's result."""
        for node in self.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
            if node.output == old:
                node.output = new
