"""What a fold runs on in a cluster, by name: a CPU, GPUs of a kind, a TPU slice."""

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
    """What one fold asks for.

    Attributes:
      name: as given.
      kind: cpu, gpu or tpu; there is a container image for each.
      model: of the accelerator; "" is any.
      count: accelerators, chips, of one host.
      topology: of a TPU slice, such as "2x4".
      hosts: machines that work on one fold.
    """

    name: str
    kind: str
    model: str = ""
    count: int = 0
    topology: str = ""
    hosts: int = 1


# Of Google's slices those of one host, and one of several hosts, which needs a disk that all see.
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
    """The device of a name: cpu, gpu, gpu:4, A100:2, tpu-v5e-8; chips are counted in all.

    Raises:
      InputError: there is none of that name.
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
        f"did you mean {close[0]!r}?"
        if close
        else f"known: {', '.join(known)}, with :COUNT of GPUs"
    )
    raise InputError(f"--device={name}: no such device; {hint}")
