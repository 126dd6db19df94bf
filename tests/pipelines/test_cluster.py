"""Tasks compiled without a Flyte cluster, and the workflow in this process."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ageflax.errors import InputError, RunError
from pipelines.cluster import devices, pods
from pipelines.plan import runs
from pipelines.plan.fingerprint import ROOT

pytest.importorskip("flyte")

import flyte
import flyte.io

from pipelines.cluster import flyte_tasks, launch


@pytest.fixture(scope="module", autouse=True)
def initialised():
    flyte.init(root_dir=ROOT, project="ageflax", domain="development")


def compiled(name: str):
    task = flyte_tasks.fold_task(
        devices.parse(name), version="0123abcd-3", retries=2, label="levi fold 3"
    )
    inputs = {"request": "{}", "name": "levi", "fold": 3, "start": None}
    return launch.compiled(task, data=flyte.io.Dir(path="s3://bucket/data"), **inputs)


def asked(spec) -> dict[str, str]:
    """Resources by name."""
    entries = spec.task_template.container.resources.requests
    names = entries[0].DESCRIPTOR.fields_by_name["name"].enum_type.values_by_number
    return {names[entry.name].name: entry.value for entry in entries}


@pytest.mark.parametrize(
    ("device", "task", "accelerators", "kind", "partition"),
    [
        ("cpu", "ageflax-cpu.fold_on_cpu", None, "", ""),
        ("gpu", "ageflax-gpu.fold_on_gpu", "1", "", ""),
        ("A100:2", "ageflax-gpu.fold_on_gpu", "2", "nvidia-tesla-a100", ""),
        ("tpu-v5e-4", "ageflax-tpu.fold_on_tpu", "4", "tpu-v5-lite-podslice", "2x2"),
        ("tpu-v5e-8", "ageflax-tpu.fold_on_tpu", "8", "tpu-v5-lite-podslice", "2x4"),
        ("tpu-v6e-1", "ageflax-tpu.fold_on_tpu", "1", "tpu-v6e-slice", "1x1"),
    ],
)
def test_a_fold_asks_for_its_device_and_is_cached_by_its_fingerprint(
    device, task, accelerators, kind, partition
):
    spec = compiled(device)
    template = spec.task_template
    assert template.id.name == task
    assert asked(spec).get("GPU") == accelerators
    assert template.extended_resources.gpu_accelerator.device == kind
    assert template.extended_resources.gpu_accelerator.partition_size == partition
    assert template.metadata.discoverable
    assert template.metadata.discovery_version == "0123abcd-3"
    # All of them: where the inputs lie is no part of what a fold is.
    assert set(template.metadata.cache_ignore_input_vars) == {
        entry.key for entry in template.interface.inputs.variables
    }
    assert template.metadata.retries.retries == 2
    assert {pair.key: pair.value for pair in template.container.env} == {"DO_NOT_TRACK": "1"}
    assert template.container.image
    assert list(template.container.args)[-4:] == [
        "mod", "pipelines.cluster.flyte_tasks", "instance", task.partition(".")[2],
    ]  # fmt: skip
    assert spec.short_name == "levi fold 3"


def test_each_kind_has_an_image_with_its_extra():
    images = {compiled(name).task_template.container.image for name in ("cpu", "gpu", "tpu-v5e-4")}
    assert len(images) == 3


def test_several_hosts_are_a_job_set_with_a_jax_process_on_each():
    spec = compiled("tpu-v5e-16")
    template = spec.task_template
    assert template.type == "clustered-task"
    assert template.custom["replicas"] == 4
    assert template.custom["nprocPerNode"] == 1
    assert list(template.container.args)[:2] == ["clustered", "--runtime=jax"]
    assert asked(spec)["GPU"] == "4"  # chips a host; 16 in all
    assert template.extended_resources.gpu_accelerator.partition_size == "4x4"


def test_the_workflow_itself_needs_no_accelerator():
    spec = launch.compiled(
        flyte_tasks.compare_folds, request="{}", device="gpu", archives=None, at_once=2, retries=1
    )
    assert "GPU" not in asked(spec)
    assert not spec.task_template.metadata.discoverable


def test_a_ready_image_is_used_as_it_is_and_telemetry_is_off_before_flyte_is_there():
    code = (
        "import sys, os\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        assert name != 'flyte' or os.environ['DO_NOT_TRACK'] == '1'\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from pipelines.cluster import flyte_tasks\n"
        "print(flyte_tasks.on_tpu.image, flyte_tasks.VARIABLES['AGEFLAX_IMAGE'])"
    )
    environment = os.environ | {"AGEFLAX_IMAGE": "example.org/ageflax:1", "PYTHONPATH": str(ROOT)}
    environment.pop("DO_NOT_TRACK", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["example.org/ageflax:1"] * 2


def asked_for(tmp_path: Path, **changes) -> launch.Launch:
    fields = {
        "workdir": tmp_path / "work", "device": "cpu", "endpoint": "", "project": "ageflax",
        "domain": "development", "image": "", "archives": "", "shared": "", "dry_run": False, "at_once": 2,
        "retries": 0,
    }  # fmt: skip
    return launch.Launch(**{**fields, **changes})


@pytest.fixture
def pretended(monkeypatch):
    """Tasks whose work takes no time: what they were asked is in the journal, fold 1 of b fails."""
    journal: list[str] = []

    def build(source):
        Path(source.directory).mkdir(parents=True)
        journal.append(f"build {source.name}")
        return "data0"

    def train(run, fold, *, data, start, workdir, held, place):
        journal.append(f"start {run.name} {fold}" + (f" from {start.name}" if start else ""))
        time.sleep(0.1)
        journal.append(f"end {run.name} {fold}")
        if (run.name, fold) == ("b", 1):
            raise RunError("the loss is nan")
        (workdir / run.name / f"fold_{fold}").mkdir(parents=True)
        (workdir / run.name / "config.json").write_text("{}")
        return workdir / run.name

    def compare(request, *, data, workdir, files):
        (workdir / "compare.html").write_text("a page")

    for function in (build, train, compare):
        monkeypatch.setattr(pods, function.__name__, function)
    return journal


def test_a_failed_fold_stops_no_other_and_n_run_at_a_time(tmp_path, pretended, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    own = ["c:transfer.weights=run:a"]
    common = ["--config.folds=(0,1)"]
    made = runs.make("a=quickstart,b=quickstart,c=quickstart", common, own)
    launch.submit(made, common, own, asked_for(tmp_path))
    work = tmp_path / "work"
    assert (work / "compare.html").read_text() == "a page"
    folders = sorted(path.name for path in work.iterdir() if path.is_dir())
    assert [name.split("-")[0] for name in folders] == ["a", "b", "c"]
    left = {
        name.split("-")[0]: sorted(p.name for p in (work / name).glob("fold_*")) for name in folders
    }
    assert left == {name: ["fold_0", "fold_1"] for name in "abc"}
    failure = work / folders[1] / "fold_1" / "failure.json"
    assert "the loss is nan" in failure.read_text()
    assert pretended.count("build synthetic_faces/people_600_photos_2_size_64_seed_0") == 1
    assert "start c 0 from fold_0" in pretended
    assert pretended.index("end a 1") < pretended.index("start c 1 from fold_1")
    running = most = 0
    for line in pretended[1:]:
        running += 1 if line.startswith("start") else -1
        most = max(most, running)
    assert most == 2
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("changes", "own", "message"),
    [
        ({"device": "tpu-v5e-16"}, [], "4 hosts write one run's checkpoints; name a folder"),
        ({"device": "tpu-v5e"}, [], "no such device; did you mean 'tpu-v5e-"),
        ({}, ["a:transfer.weights=pyproject.toml"], "is on this machine, not on the cluster; give a name"),
        ({}, ["a:data.crop=999"], "a: data.crop = 999 is larger"),
    ],
)  # fmt: skip
def test_what_a_cluster_cannot_do_is_refused_before_it_is_asked(tmp_path, changes, own, message):
    made = runs.make("a=quickstart,b=quickstart", [], own)
    with pytest.raises(InputError, match=message):
        launch.submit(made, [], own, asked_for(tmp_path, **changes))
