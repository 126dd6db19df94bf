"""Graph of a foreign network's layers, and a cursor that walks it from output to input."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ageflax.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """One operation, compared by identity.

    Attributes:
      kind: conv, dense, relu, max_pool, lrn, batch_norm, add, mean, softmax, transpose or input; the
        file's own word for any other operation.
      name: printable name from the file.
      inputs: layers that it is computed from.
      tensors: weights by name. conv: `kernel` (O, I, H, W), `bias`; dense: `kernel` (O, I), `bias`;
        batch_norm: `scale`, `bias`, `mean`, `var`.
      settings: other parameters, such as `stride` and `pads` (top, left, bottom, right).
    """

    kind: str
    name: str
    inputs: tuple["Layer", ...] = ()
    tensors: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def kernel_and_bias(
    kernel: np.ndarray, bias: Sequence[np.ndarray], where: str
) -> dict[str, np.ndarray]:
    """Tensors of a layer with at most one bias; raises InputError if it does not fit the kernel."""
    tensors = {"kernel": kernel}
    if bias:
        tensors["bias"] = bias[0].reshape(-1)
        if bias[0].size != len(kernel):
            raise InputError(f"{where}: {bias[0].size} biases for {len(kernel)} outputs")
    return tensors


class MismatchError(InputError):
    """The graph is another network than the expected one."""


class Cursor:
    """A position in a graph. Each method expects one kind of layer there, and steps over it.

    Args:
      layer: position.
      network: name of the expected network, for messages.
    """

    def __init__(self, layer: Layer, network: str):
        self.layer, self.network = layer, network

    def copy(self) -> "Cursor":
        """Another cursor at the same position."""
        return Cursor(self.layer, self.network)

    def differs(self, difference: str) -> MismatchError:
        """Error for an unexpected layer."""
        place = self.layer.name or self.layer.kind
        return MismatchError(f"{difference} at {place!r}: not {self.network}")

    def at(self, kind: str) -> bool:
        """True if a layer of this kind is here."""
        return self.layer.kind == kind

    def take(self, kind: str, **settings: Any) -> Layer:
        """Gives the layer here and steps to its first input.

        Raises:
          MismatchError: kind, settings or number of inputs differ from the expected ones.
        """
        here = self.layer
        if here.kind != kind:
            raise self.differs(f"found {here.kind}, expected {kind},")
        for name, expected in settings.items():
            found = here.settings.get(name)
            if isinstance(expected, float) and isinstance(found, float):
                alike = abs(found - expected) <= 1e-6 * abs(expected)
            else:
                alike = found == expected
            if not alike:
                raise self.differs(f"{kind} with {name} {found}, expected {expected},")
        if len(here.inputs) != (2 if kind == "add" else 1):
            raise self.differs(f"{kind} with {len(here.inputs)} inputs")
        self.layer = here.inputs[0]
        return here

    def conv(self, *, side: int, stride: int, pad: int) -> Layer:
        """Takes a convolution of one group with this kernel, stride and padding."""
        here = self.take("conv", stride=(stride, stride), pads=(pad,) * 4, dilation=(1, 1), group=1)
        found = here.tensors["kernel"].shape[2:]
        if found != (side, side):
            raise MismatchError(
                f"convolution {here.name} of {found} pixels, expected {side}x{side}: not"
                f" {self.network}"
            )
        return here

    def pool(self, *, side: int, stride: int, pad: int, before: int, after: int) -> Layer:
        """Takes a max-pool from `before` pixels a side to `after`, which depends on its rounding."""
        place = self.copy()
        here = self.take("max_pool", side=(side, side), stride=(stride, stride))
        top, left, bottom, right = here.settings["pads"]
        for first, last in ((top, bottom), (left, right)):
            room = before + first + last - side
            rounded = -(-room // stride) if here.settings["ceil"] else room // stride
            # Caffe drops a last window that starts in the padding.
            if here.settings["ceil"] and rounded * stride >= before + first:
                rounded -= 1
            if first != pad or rounded + 1 != after:
                raise place.differs(
                    f"max_pool from {before} to {rounded + 1} pixels with padding {first}, expected"
                    f" {after} with padding {pad},"
                )
        return here

    def end(self) -> None:
        """Checks that the network's input is here, or one with its channels last.

        Raises:
          MismatchError: more layers, or preprocessing, come before.
        """
        if self.at("transpose"):
            self.take("transpose", order=(0, 3, 1, 2))
        if not self.at("input"):
            raise self.differs(f"found {self.layer.kind} between the image and the first layer,")
