"""Resources of a job on a Ray cluster: devices by name, and the options that ask for them."""

import argparse
import dataclasses
import difflib
import re

from ageflax.errors import InputError
from ageflax.runtime import command_line

_GPU = re.compile(r"(?P<model>[A-Za-z0-9-]+)(:(?P<count>[1-8]))?")
# Ray's names; a node has the one that Ray finds on it.
_GPU_MODELS = (
    "A10G", "A100", "A100-40G", "A100-80G", "B200", "B300", "GB200", "H100", "H200", "L4", "L40S", "T4",
    "V100",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Device:
    """Device of a fold.

    Attributes:
      name: name as given by the user.
      model: model of the accelerator in Ray; "" for any.
      gpus: GPUs per host.
      chips: TPU chips per host.
      slice: Ray's name of a TPU slice of several hosts, such as "v5litepod-16"; "" for others.
      hosts: number of machines per fold.
    """

    name: str
    model: str = ""
    gpus: int = 0
    chips: int = 0
    slice: str = ""
    hosts: int = 1

    def resources(self, cpus: int) -> dict[str, float]:
        """Ray's resources of a fold on each host."""
        asked = {"CPU": cpus, "GPU": self.gpus, "TPU": self.chips}
        model = {f"accelerator_type:{self.model}": 0.001} if self.model else {}
        return {name: value for name, value in asked.items() if value} | model


# Google's slices: of one host, and of several hosts.
_TPUS = (
    *(Device(f"tpu-v5e-{chips}", "TPU-V5LITEPOD", chips=chips) for chips in (1, 4, 8)),
    Device("tpu-v5p-4", "TPU-V5P", chips=4),
    *(Device(f"tpu-v6e-{chips}", "TPU-V6E", chips=chips) for chips in (1, 4, 8)),
    Device("tpu-v5e-16", "TPU-V5LITEPOD", chips=4, slice="v5litepod-16", hosts=4),
    Device("tpu-v6e-16", "TPU-V6E", chips=4, slice="v6e-16", hosts=4),
)
TPUS = {device.name: device for device in _TPUS}


def parse(name: str, hosts: int = 1) -> Device:
    """Parses a device's name: cpu, gpu, gpu:4, A100:2, tpu-v5e-8 (a TPU's number counts all chips).

    Args:
      name: the device of each host.
      hosts: number of hosts per fold; a TPU slice has its own.

    Raises:
      InputError: no device has that name, or a TPU slice is to have other hosts.
    """
    if name in TPUS:
        if hosts > 1:
            raise InputError(f"--hosts={hosts}: {name} has {TPUS[name].hosts}; leave --hosts out")
        return TPUS[name]
    if name == "cpu":
        return Device(name, hosts=hosts)
    match = _GPU.fullmatch(name)
    if match and match["model"] in ("gpu", *_GPU_MODELS):
        model = "" if match["model"] == "gpu" else match["model"]
        return Device(name, model, gpus=int(match["count"] or 1), hosts=hosts)
    known = ("cpu", "gpu", *_GPU_MODELS, *TPUS)
    close = difflib.get_close_matches(name, known, n=1)
    hint = (
        f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}; GPUs take :COUNT"
    )
    raise InputError(f"--device={name}: no such device; {hint}")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and the resources of jobs on it.

    Attributes:
      address: HOST:PORT, or "auto" for the cluster that this machine belongs to.
      device: device of each fold.
      cpus: CPUs of each job, per host.
    """

    address: str
    device: Device
    cpus: int

    @classmethod
    def of(cls, words: argparse.Namespace) -> "Cluster | None":
        """The cluster that the options name; None for this machine.

        Raises:
          InputError: an option is invalid, or has no meaning on the engine.
        """
        names = ("address", "device", "hosts", "cpus")
        given = {n: value for n in names if (value := getattr(words, n, None)) is not None}
        if words.engine == "local":
            if given:
                raise InputError(f"--{next(iter(given))}: needs --engine=ray")
            return None
        if getattr(words, "gpus", ""):
            raise InputError("--gpus: numbers this machine's; with --engine=ray use --device=gpu:N")
        device = parse(given.get("device", "cpu"), given.get("hosts", 1))
        return cls(given.get("address", "auto"), device, given.get("cpus", 1))


def add_arguments(parser: argparse.ArgumentParser, *, folds: bool) -> None:
    """Adds --engine, --address and --cpus; for folds also --device and --hosts."""
    group = parser.add_argument_group("on a Ray cluster (pip install 'ageflax[ray]')")
    add, number = group.add_argument, command_line.whole_number(1, 1024)
    add("--engine", choices=("local", "ray"), default="local",
        help="where jobs run (default: local, this machine)")  # fmt: skip
    add("--address", metavar="HOST:PORT",
        help="head of the cluster (default: auto, the one this machine belongs to)")  # fmt: skip
    add("--cpus", metavar="N", type=number, help="CPUs of each job, per host (default: 1)")
    if folds:
        add("--device", metavar="NAME",
            help="device of each fold: cpu, gpu:N, A100:N, tpu-v5e-8, ... (default: cpu)")  # fmt: skip
        add("--hosts", metavar="N", type=number, help="machines per fold, each with the device")
