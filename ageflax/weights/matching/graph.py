"""A foreign network as a graph of layers, and a cursor that walks it from its output to its input."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ageflax.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """One operation; identity is the object's.

    Attributes:
      kind: conv, dense, relu, max_pool, lrn, batch_norm, add, mean, softmax, input; or, of what no
        network here has, the file's own word for it.
      name: in the file, fit to be printed.
      inputs: what it is computed from.
      tensors: by name: `kernel` O, I, H, W of conv and O, I of dense, `bias`; of batch_norm `scale`,
        `bias`, `mean` and `var`.
      settings: numbers that shape the computation: `stride`, `pads` (top, left, bottom, right), ...
    """

    kind: str
    name: str
    inputs: tuple["Layer", ...] = ()
    tensors: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class MismatchError(InputError):
    """The graph is of another network than the one it is compared with."""


class Cursor:
    """A place in a graph. Each method asks for one kind of layer there, and steps over it.

    Args:
      layer: where it stands.
      network: the name of the network that is expected, for messages.
    """

    def __init__(self, layer: Layer, network: str):
        self.layer, self.network = layer, network

    def copy(self) -> "Cursor":
        """Another at the same place."""
        return Cursor(self.layer, self.network)

    def differs(self, what: str) -> MismatchError:
        """What to raise where the layer is not the expected one."""
        return MismatchError(
            f"{what} at {self.layer.name or self.layer.kind!r}: not {self.network}"
        )

    def at(self, kind: str) -> bool:
        """Whether a layer of this kind is here."""
        return self.layer.kind == kind

    def take(self, kind: str, **settings: Any) -> Layer:
        """The layer here, of this kind and with these settings; steps to its first input.

        Raises:
          MismatchError: it is of another kind, or has other settings.
        """
        here = self.layer
        if here.kind != kind:
            raise self.differs(f"found {here.kind} where {kind} is expected")
        for name, expected in settings.items():
            found = here.settings.get(name)
            if isinstance(expected, float) and isinstance(found, float):
                alike = abs(found - expected) <= 1e-6 * abs(expected)
            else:
                alike = found == expected
            if not alike:
                raise self.differs(f"{kind} with {name} {found}, expected {expected}")
        if len(here.inputs) != (2 if kind == "add" else 1):
            raise self.differs(f"{kind} of {len(here.inputs)} inputs")
        self.layer = here.inputs[0]
        return here

    def conv(self, *, side: int, stride: int, pad: int) -> Layer:
        """A convolution of one group, its kernel, stride and padding as given."""
        here = self.take("conv", stride=(stride, stride), pads=(pad,) * 4, dilation=(1, 1), group=1)
        if here.tensors["kernel"].shape[2:] != (side, side):
            raise MismatchError(
                f"convolution {here.name} of {here.tensors['kernel'].shape[2:]} pixels,"
                f" expected {side}x{side}: not {self.network}"
            )
        return here

    def pool(self, *, side: int, stride: int, pad: int, before: int, after: int) -> Layer:
        """A max-pool from `before` pixels a side to `after`; which way it rounds shows in them."""
        expected = {"side": (side, side), "stride": (stride, stride)}
        place = self.copy()
        here = self.take("max_pool", **expected)
        top, left, bottom, right = here.settings["pads"]
        for first, last in ((top, bottom), (left, right)):
            room = before + first + last - side
            rounded = -(-room // stride) if here.settings["ceil"] else room // stride
            # Caffe drops a last window that would begin in the padding.
            if here.settings["ceil"] and rounded * stride >= before + first:
                rounded -= 1
            if first != pad or rounded + 1 != after:
                raise place.differs(
                    f"max_pool from {before} to {rounded + 1} pixels, padded by {first}; expected"
                    f" {after}, padded by {pad}"
                )
        return here

    def end(self) -> None:
        """The network's input is here.

        Raises:
          MismatchError: something is computed first: more layers, or preprocessing.
        """
        if not self.at("input"):
            raise self.differs(f"found {self.layer.kind} between the image and the first layer")
