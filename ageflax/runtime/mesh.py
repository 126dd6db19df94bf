"""The device mesh, and the placement of arrays on it."""

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
    """Makes a mesh with one axis, "data", over all devices (or those given).

    Each host's devices are adjacent, so that its share of a batch is contiguous.
    """
    devices = jax.devices() if devices is None else devices
    if len({device.process_index for device in devices}) > 1:
        ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
        return Mesh(np.array(ordered), ("data",), axis_types=(AxisType.Auto,))
    # Flax Linen does not support explicit axis types, the default.
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding that keeps a whole copy on every device."""
    return NamedSharding(mesh, P())


def batched(mesh: Mesh, *, axis: int = 0) -> NamedSharding:
    """Sharding that splits an axis, by default the first, over the devices."""
    return NamedSharding(mesh, P(*[None] * axis, "data"))


def check_divides(batch_size: int, mesh: Mesh, key: str) -> None:
    """Raises InputError if the batch does not split evenly, naming the nearest sizes that do."""
    devices = mesh.devices.size
    if batch_size % devices:
        lower, upper = batch_size // devices * devices, rounded_up(batch_size, mesh)
        sizes = f"{lower} or {upper}" if lower else f"{upper}"
        raise InputError(
            f"{key} = {batch_size} does not divide over {devices} devices; {sizes} would"
        )


def rounded_up(size: int, mesh: Mesh) -> int:
    """The size rounded up to a multiple of the devices, for batches that are padded."""
    devices = mesh.devices.size
    return -(-size // devices) * devices


def put(tree: Any, sharding: NamedSharding) -> Any:
    """Places host arrays, equal on every process, by a sharding; each process sends its own part."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def placed(leaf: Any) -> jax.Array:
        # device_put would first compare the processes' copies over the network.
        return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])

    return jax.tree.map(lambda leaf: placed(np.asarray(leaf)), tree)


def own_share(size: int, mesh: Mesh) -> slice:
    """Rows of a batch of `size` that belong to this process's devices."""
    shares = batched(mesh).addressable_devices_indices_map((size,)).values()
    found = [share[0].indices(size) for share in shares if share is not None]
    return slice(min(start for start, _, _ in found), max(stop for _, stop, _ in found))


def shard_batch(batch: T, mesh: Mesh, size: int) -> T:
    """Places this process's rows of a host batch on its devices, as one global array per leaf.

    Args:
      batch: every leaf's rows in `own_share`.
      mesh: mesh to place them on.
      size: number of rows in the whole batch.
    """
    sharding = batched(mesh)

    def placed(leaf: Any) -> jax.Array:
        local = np.asarray(leaf)
        shape = (size, *local.shape[1:])
        return jax.make_array_from_process_local_data(sharding, local, shape)

    return jax.tree.map(placed, batch)


def whole(array: Any) -> np.ndarray:
    """Copies a whole global array to the host, including the parts on other processes' devices."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable or array.is_fully_replicated:
        return jax.device_get(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
