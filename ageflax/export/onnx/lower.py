"""Lowers a JAX function to an ONNX graph, primitive by primitive.

A network at test has a few dozen kinds of primitives (its jaxpr), each of which is one or two ONNX
nodes. JAX itself computes whatever is known at export.

Other converters were tried: jax2onnx 0.17 replaces flax's layers, not their primitives, while it traces,
and its nn.max_pool silently drops explicit padding: Levi's pools then round down and ResNets see other
windows. Reversals, dynamic reshapes and LRN became some forty nodes, with a convolution over four
spatial axes that no other runtime has.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ageflax.errors import RunError
from ageflax.export.onnx import contractions, elementwise, idioms, shapes
from ageflax.export.onnx.graph import Const, Graph, Tensor, Value, result

_RULES = {**shapes.RULES, **contractions.RULES}
# JAX would compile these for every shape anew, and norms and biases have hundreds.
_BY_NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "add": lambda params, a, b: a + b,
    "div": lambda params, a, b: a / b,
    "mul": lambda params, a, b: a * b,
    "sub": lambda params, a, b: a - b,
    "convert_element_type": lambda params, a: a.astype(params["new_dtype"]),
}
_WHOLE_BY_NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "concatenate": lambda params, *arrays: np.concatenate(arrays, params["dimension"]),
    "rev": lambda params, a: np.flip(a, params["dimensions"]),
    "iota": lambda params: np.indices(params["shape"], params["dtype"])[params["dimension"]],
}
_CALLS = {"closed_call", "custom_jvp_call", "custom_vjp_call", "jit", "pjit"}


def _inner(params: Mapping[str, Any]) -> Any:
    """The jaxpr that a call runs."""
    return next(params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in params)


def _known(graph: Graph, eqn: Any, constants: Sequence[Const]) -> list[Value]:
    """Results of a primitive on constants."""
    name = next((value.name for value in constants if value.name), "")
    primitive, arrays = eqn.primitive.name, [value.value for value in constants]
    if primitive == "broadcast_in_dim":
        return [Const(arrays[0].reshape(shapes.spread(arrays[0].shape, eqn)), name)]
    if primitive == "reshape":
        return [Const(arrays[0].reshape(result(eqn)), name)]
    if primitive in _BY_NUMPY:
        return [Const(_BY_NUMPY[primitive](eqn.params, *arrays), name)]
    if primitive in elementwise.PRIMITIVES:
        arrays = np.broadcast_arrays(*arrays)
    else:
        whole = shapes.whole(graph, eqn, constants)
        arrays = [value.value for value in whole if isinstance(value, Const)]
    if primitive in _WHOLE_BY_NUMPY:
        return [Const(_WHOLE_BY_NUMPY[primitive](eqn.params, *arrays), name)]
    found = eqn.primitive.bind(*arrays, **eqn.params)
    outputs = found if eqn.primitive.multiple_results else [found]
    return [Const(np.asarray(value), name) for value in outputs]


def _computed(graph: Graph, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
    """Results of a primitive when the model runs."""
    primitive = eqn.primitive.name
    if (found := idioms.recognised(graph, primitive, values)) is not None:
        return [found]
    if primitive in elementwise.PRIMITIVES:
        return [elementwise.elementwise(graph, primitive, values)]
    if primitive not in _RULES:
        raise NotImplementedError(primitive)
    found = _RULES[primitive](graph, eqn, *values)
    return found if isinstance(found, list) else [found]


def _walk(graph: Graph, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value]) -> list[Value]:
    """Values of a jaxpr's outputs."""
    known: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
    for var, value in zip(jaxpr.constvars, consts, strict=True):
        known[var] = Const(np.asarray(value))

    def read(atom: Any) -> Value:
        if hasattr(atom, "val"):  # a literal
            return Const(np.asarray(atom.val, atom.aval.dtype))
        return known[atom]

    for eqn in jaxpr.eqns:
        values = tuple(read(atom) for atom in eqn.invars)
        if eqn.primitive.name in _CALLS:
            inner = _inner(eqn.params)
            outputs = _walk(graph, inner.jaxpr, inner.consts, values)
        elif all(isinstance(value, Const) for value in values):
            outputs = _known(graph, eqn, [v for v in values if isinstance(v, Const)])
        else:
            origin = (eqn.primitive.name, eqn.params, values)
            outputs = [
                dataclasses.replace(value, origin=origin)
                if isinstance(value, Tensor) and value.origin is None and value not in values
                else value
                for value in _computed(graph, eqn, values)
            ]
        known.update(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def lower(graph: Graph, closed: Any, inputs: Sequence[Value], names: Sequence[str]) -> None:
    """Adds a closed jaxpr's computation to a graph.

    Args:
      graph: graph to add to.
      closed: closed jaxpr.
      inputs: its arguments.
      names: names of its outputs.

    Raises:
      RunError: the jaxpr has a primitive, or a form of one, that is not supported.
    """
    try:
        outputs = _walk(graph, closed.jaxpr, closed.consts, inputs)
        for name, value, var in zip(names, outputs, closed.jaxpr.outvars, strict=True):
            complete = graph.broadcast(value, var.aval.shape)
            # A node of its own if several names stand for one value, or it is constant.
            last = graph.node("Identity", [graph.plain(complete)])
            graph.rename(last, name)
    except NotImplementedError as error:
        raise RunError(f"this network has an operation that is not exported: {error}") from error
