"""Files that start clusters: they can be read, and their commands have no option that does not exist."""

import re
import shlex
import subprocess

import pytest
import yaml

from pipelines import cross_validate
from pipelines.cluster.devices import Cluster
from pipelines.plan.fingerprint import ROOT

FOLDER = ROOT / "pipelines" / "cluster"


@pytest.mark.parametrize("name", ["kuberay_gpu", "kuberay_tpu", "skypilot"])
def test_commands_are_valid(name):
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    text = content["run"] if "run" in content else content["spec"]["entrypoint"]
    (found,) = re.findall(
        r"(?:compare_configs|pipelines\.compare) (.*)", text.replace("\\\n", ""), re.S
    )
    known, common = cross_validate.parser("compare", "").parse_known_args(shlex.split(found))
    cluster = Cluster.of(known)
    assert not common and cluster
    groups = content.get("spec", {}).get("rayClusterSpec", {}).get("workerGroupSpecs", [])
    for group in groups:  # a node has what a fold asks of it
        (container,) = group["template"]["spec"]["containers"]
        limits = container["resources"]["limits"]
        assert group.get("numOfHosts", 1) == cluster.device.hosts
        assert int(limits["cpu"]) >= cluster.cpus
        assert int(limits.get("nvidia.com/gpu", 0)) == cluster.device.gpus
        assert int(limits.get("google.com/tpu", 0)) == cluster.device.chips


# Stand-ins: a node number as Slurm gives it; and Ray, whose head listens on its port.
STAND_INS = {
    "scontrol": "echo 127.0.0.1",
    "srun": 'shift; SLURM_PROCID=1 "$@" & SLURM_PROCID=0 "$@"; code=$?; wait; exit $code',
    "ray": """
echo "$*" >> "$JOURNAL"
case "$*" in
  *--head*) exec python3 -c 'import socket, time
listening = socket.create_server(("127.0.0.1", 6379))
time.sleep(60)';;
esac""",
    "python": 'until grep -q address= "$JOURNAL"; do sleep 0.05; done; echo "$RAY_ADDRESS $*"; exit 7',
}


def test_slurm_starts_a_head_the_others_and_the_command_once(tmp_path):
    for name, body in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "JOURNAL": str(tmp_path / "journal")}
    done = subprocess.run(
        ["bash", FOLDER / "slurm.sh", "--configs=a b", "--workdir=x"],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert done.stdout == (
        "127.0.0.1:6379 -m pipelines.compare --engine=ray --device=gpu --cpus=8 --configs=a b --workdir=x\n"
    )
    head, other = sorted((tmp_path / "journal").read_text().splitlines(), reverse=True)
    assert head.startswith("start --head --port=6379 ")
    assert other == "start --address=127.0.0.1:6379 --block"
