import re

import pytest

from ageflax.errors import InputError
from pipelines.cluster import devices
from pipelines.cluster.devices import Device


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("cpu", Device("cpu", "cpu")),
        ("gpu", Device("gpu", "gpu", "", 1)),
        ("gpu:8", Device("gpu:8", "gpu", "", 8)),
        ("A100_80G:2", Device("A100_80G:2", "gpu", "A100_80G", 2)),
        ("tpu-v5e-4", Device("tpu-v5e-4", "tpu", "V5E", 4, "2x2")),
        ("tpu-v5e-16", Device("tpu-v5e-16", "tpu", "V5E", 4, "4x4", 4)),
    ],
)
def test_names(name, device):
    assert devices.parse(name) == device


def test_chips_of_all_hosts_fill_the_slice():
    for device in devices.TPUS.values():
        sides = [int(side) for side in device.topology.split("x")]
        chips = 1
        for side in sides:
            chips *= side
        assert chips == device.count * device.hosts == int(device.name.rpartition("-")[2])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tpu-v5e-5", "did you mean 'tpu-v5e-"),
        ("gpu:9", "did you mean 'gpu'?"),
        ("", "known: cpu, gpu"),
    ],
)
def test_others_are_refused_with_a_hint(name, hint):
    with pytest.raises(InputError, match=re.escape(f"--device={name}: no such device; {hint}")):
        devices.parse(name)
