"""The device mesh, and what lies where on it."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ageflax.errors import InputError

T = TypeVar("T")


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with one axis, "data", over all devices (or those given)."""
    devices = jax.devices() if devices is None else devices
    # Linen does its own bookkeeping; explicit axis types, the default, are not for it.
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, P())


def batched(mesh: Mesh, *, axis: int = 0) -> NamedSharding:
    """Split over the devices along an axis, by default the first."""
    return NamedSharding(mesh, P(*[None] * axis, "data"))


def check_divides(batch_size: int, mesh: Mesh, key: str) -> None:
    """Raises InputError where the batch does not split evenly, naming the nearest sizes that do."""
    devices = mesh.devices.size
    if batch_size % devices:
        lower, upper = batch_size // devices * devices, -(-batch_size // devices) * devices
        sizes = f"{lower} or {upper}" if lower else f"{upper}"
        raise InputError(
            f"{key} = {batch_size} does not divide over {devices} devices; {sizes} would"
        )


def shard_batch(batch: T, mesh: Mesh) -> T:
    """Puts this process's rows of a host batch on its devices, as one global array a leaf."""
    sharding = batched(mesh)
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), batch
    )
