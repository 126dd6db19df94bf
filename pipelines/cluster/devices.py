"""Devices of a fold on a cluster, by name: CPU, GPUs, TPU slices."""

import dataclasses
import difflib
import re

from ageflax.errors import InputError

_GPU = re.compile(r"(?P<model>[A-Za-z0-9_]+)(:(?P<count>[1-8]))?")
_GPU_MODELS = (
    "A2", "A10", "A10G", "A100", "A100_80G", "B200", "H100", "H200", "L4", "L40s", "T4", "V100",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Device:
    """Device of a fold.

    Attributes:
      name: name as given by the user.
      kind: cpu, gpu or tpu; each has a container image.
      model: model of the accelerator; "" for any.
      count: accelerators (chips) per host.
      topology: shape of a TPU slice, such as "2x4".
      hosts: number of machines per fold.
    """

    name: str
    kind: str
    model: str = ""
    count: int = 0
    topology: str = ""
    hosts: int = 1


# Google's slices of one host, and one of several hosts, which must share a disk.
_TPUS = (
    Device("tpu-v5e-1", "tpu", "V5E", 1, "1x1"),
    Device("tpu-v5e-4", "tpu", "V5E", 4, "2x2"),
    Device("tpu-v5e-8", "tpu", "V5E", 8, "2x4"),
    Device("tpu-v5p-4", "tpu", "V5P", 4, "2x2x1"),
    Device("tpu-v6e-1", "tpu", "V6E", 1, "1x1"),
    Device("tpu-v6e-4", "tpu", "V6E", 4, "2x2"),
    Device("tpu-v6e-8", "tpu", "V6E", 8, "2x4"),
    Device("tpu-v5e-16", "tpu", "V5E", 4, "4x4", hosts=4),
)
TPUS = {device.name: device for device in _TPUS}


def parse(name: str) -> Device:
    """Parses a device's name: cpu, gpu, gpu:4, A100:2, tpu-v5e-8 (a TPU's number counts all chips).

    Raises:
      InputError: no device has that name.
    """
    if name == "cpu":
        return Device(name, "cpu")
    if name in TPUS:
        return TPUS[name]
    match = _GPU.fullmatch(name)
    if match and match["model"] in ("gpu", *_GPU_MODELS):
        model = "" if match["model"] == "gpu" else match["model"]
        return Device(name, "gpu", model, int(match["count"] or 1))
    known = ("cpu", "gpu", *_GPU_MODELS, *TPUS)
    close = difflib.get_close_matches(name, known, n=1)
    hint = (
        f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}; GPUs take :COUNT"
    )
    raise InputError(f"--device={name}: no such device; {hint}")
