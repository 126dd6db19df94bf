import argparse
import re

import pytest

from ageflax.errors import InputError
from pipelines.cluster import devices
from pipelines.cluster.devices import Cluster, Device


@pytest.mark.parametrize(
    ("name", "resources"),
    [
        ("cpu", {"CPU": 3}),
        ("gpu", {"CPU": 3, "GPU": 1}),
        ("A100-80G:2", {"CPU": 3, "GPU": 2, "accelerator_type:A100-80G": 0.001}),
        ("tpu-v5e-8", {"CPU": 3, "TPU": 8, "accelerator_type:TPU-V5LITEPOD": 0.001}),
        ("tpu-v6e-16", {"CPU": 3, "TPU": 4, "accelerator_type:TPU-V6E": 0.001}),
    ],
)
def test_a_fold_asks_each_host_for_its_device(name, resources):
    assert devices.parse(name).resources(3) == resources


def test_chips_of_all_hosts_fill_the_slice():
    for device in devices.TPUS.values():
        chips = device.name.rpartition("-")[2]
        assert device.chips * device.hosts == int(chips)
        assert device.slice.rpartition("-")[2] in ("", chips)
        assert bool(device.slice) == (device.hosts > 1)


@pytest.mark.parametrize(
    ("name", "hosts", "message"),
    [
        ("tpu-v5e-5", 1, "--device=tpu-v5e-5: no such device; did you mean 'tpu-v5e-"),
        ("gpu:9", 1, "--device=gpu:9: no such device; did you mean 'gpu'?"),
        ("", 1, "--device=: no such device; known: cpu, gpu"),
        ("tpu-v5e-16", 2, "--hosts=2: tpu-v5e-16 has 4; leave --hosts out"),
    ],
)
def test_others_are_refused_with_a_hint(name, hosts, message):
    with pytest.raises(InputError, match=re.escape(message)):
        devices.parse(name, hosts)


def test_options_of_the_cluster():
    parser = argparse.ArgumentParser()
    devices.add_arguments(parser, folds=True)
    words = ["--engine=ray", "--address=head:6379", "--device=gpu:2", "--hosts=3", "--cpus=8"]
    device = Device("gpu:2", gpus=2, hosts=3)
    assert Cluster.of(parser.parse_args(words)) == Cluster("head:6379", device, 8)
    assert Cluster.of(parser.parse_args(words[:1])) == Cluster("auto", Device("cpu"), 1)
    assert Cluster.of(parser.parse_args([])) is None
