"""The device mesh, and what lies where on it."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ageflax.errors import InputError

T = TypeVar("T")


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with one axis, "data", over all devices (or those given).

    Of several hosts, each one's devices lie side by side, so that its share of a batch is one stretch.
    """
    devices = jax.devices() if devices is None else devices
    if len({device.process_index for device in devices}) > 1:
        ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
        return Mesh(np.array(ordered), ("data",), axis_types=(AxisType.Auto,))
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


def put(tree: Any, sharding: NamedSharding) -> Any:
    """Puts host arrays, the same on every process, where the sharding says; each sends its own part."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def placed(leaf: Any) -> jax.Array:
        # device_put would first compare the processes' copies, over the network.
        return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])

    return jax.tree.map(lambda leaf: placed(np.asarray(leaf)), tree)


def own_share(size: int, mesh: Mesh) -> slice:
    """The rows of a batch of `size` that lie on this process's devices."""
    shares = batched(mesh).addressable_devices_indices_map((size,)).values()
    found = [share[0].indices(size) for share in shares if share is not None]
    return slice(min(start for start, _, _ in found), max(stop for _, stop, _ in found))


def shard_batch(batch: T, mesh: Mesh, size: int) -> T:
    """Puts this process's rows of a host batch on its devices, as one global array a leaf.

    Args:
      batch: the rows that `own_share` names, of every leaf.
      mesh: where they go.
      size: rows of the whole batch.
    """
    sharding = batched(mesh)

    def placed(leaf: Any) -> jax.Array:
        local = np.asarray(leaf)
        shape = (size, *local.shape[1:])
        return jax.make_array_from_process_local_data(sharding, local, shape)

    return jax.tree.map(placed, batch)


def whole(array: Any) -> np.ndarray:
    """A global array on the host, whatever part of it lies on this process's devices."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable or array.is_fully_replicated:
        return jax.device_get(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
