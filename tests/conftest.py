"""Four CPU devices, strict promotion, and one small dataset that every test may read."""

import gc
import importlib.metadata
import os
import sys

if "pytest" in sys.modules:
    # Until all tests are imported: what they import stays, and would be looked through again and again.
    gc.disable()
# Set before anything imports jax.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# As pipelines set it before they import Ray, which some tests do by themselves.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
# Compiling small programs that run once is most of the tests' time; these flags cut it to a third. XLA
# aborts on an unknown flag.
if "xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    _quick = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        _quick += " --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_quick}".strip()

import atexit
import contextlib
import ctypes
import dataclasses
import importlib
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from jax.sharding import Mesh
from ml_collections import ConfigDict

import tests.support.typechecker  # noqa: F401  found by its name as the first module is imported
from ageflax import config as configuration
from ageflax.bundle import model as bundle_model
from ageflax.config import Config
from ageflax.data.building import find
from ageflax.data.dataset import StoredDataset
from ageflax.runtime import command_line
from ageflax.training import program

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")

# OpenCV reads these variables of quiet.process() as it is imported.
os.environ |= {
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "protocol_whitelist;file",
}

# A shell that runs the tests in the background makes them and their children ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Likewise nohup and SIGHUP.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Many tests train the same small program: it is compiled once per session, for all processes. Child
# processes inherit the variables; this process removes the folder at its end.
if "AGEFLAX_TESTS_COMPILED" not in os.environ:
    _compiled = tempfile.mkdtemp(prefix="ageflax-tests-")
    os.environ["AGEFLAX_TESTS_COMPILED"] = os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", os.environ["AGEFLAX_TESTS_COMPILED"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

# Variable that adds the long forms of tests; the quick forms always run.
LONG = "AGEFLAX_LONG_TESTS"


# Workers take files one by one: the longest go first, or one would end alone.
_FIRST = (
    "test_processes", "test_recipes", "test_main", "test_cross_validation", "test_preemption",
    "test_distillation", "test_configs", "test_resnet", "test_levi_hassner", "test_commands",
)  # fmt: skip


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores: a tenth of the tests' time is spent waiting for other processes."""
    return 1 + (os.cpu_count() or 1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Imports the modules of tests, each worker from another place on: they share the bytecode.

    Without any, as in a fresh clone, rewriting and compiling is most of what collecting takes.
    """
    worker, root = getattr(session.config, "workerinput", None), session.config.rootpath
    folders = [root / word for word in session.config.args]
    if not worker or not all(folder.is_dir() for folder in folders):
        return
    patterns = session.config.getini("python_files")
    found = sorted({p for folder in folders for name in patterns for p in folder.rglob(name)})
    first = len(found) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    for path in found[first:] + found[:first]:
        # Whatever is wrong with it is reported as it is collected.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))


def pytest_collection_finish() -> None:
    """Leaves what the imports made out of garbage collection, and collects as rarely as commands do."""
    gc.freeze()
    gc.enable()
    command_line.collect_rarely()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips long tests unless the variable is set; puts the longest files first."""
    items.sort(
        key=lambda item: (
            item.path.stem not in _FIRST,
            not item.nodeid.startswith("tests/pipelines/"),
        )
    )
    if not os.environ.get(LONG):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason=f"long; run with {LONG}=1"))


# Config keys that no compiled step depends on: they choose faces, and say how the loop goes about them.
_OUTSIDE = {
    "": ("fold", "folds", "seed", "steps", "epochs"),
    "data": ("name", "dir", "placement", "dispatch", "workers", "prepared", "balance"),
    "transfer": ("weights", "revision", "sha256", "reset"),
    "distill": ("teachers",),
    "eval": ("every", "log_every", "batch_size", "patience", "checkpoint", "protocol", "age"),
}
_build = program.build
_programs: dict[str, program.Program] = {}


def _shared(config: Config, mesh: Mesh, **given: Any) -> program.Program:
    """The program of an earlier run of such a config; each run would trace and load its own anew."""
    values = config.to_dict()
    for group, keys in _OUTSIDE.items():
        held = values[group] if group else values
        for key in keys:
            held.pop(key, None)
    steps = program.total_steps(config, given["training_faces"])
    if config.optim.schedule in ("step", "constant") and not config.transfer.unfreeze:
        values["steps"] = "any"
    else:
        values["steps"] = steps
    key = repr((values, given.get("teachers"), mesh.devices.tolist()))
    if key not in _programs:
        while len(_programs) >= 6:
            del _programs[next(iter(_programs))]
        _programs[key] = _build(config, mesh, **given)
    return dataclasses.replace(_programs[key], steps=steps)


program.build = _shared

# Bytes of memory at which a process forgets what it compiled, which grows by gigabytes otherwise.
_MOST = [1_200_000_000]


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pytest_runtest_logfinish() -> None:
    """Between tests, keeps a worker's memory bounded."""
    if sys.platform != "linux" or _resident() < _MOST[0]:
        return
    _programs.clear()
    bundle_model._compiled.cache_clear()
    jax.clear_caches()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    # What tests themselves hold stays; clearing more often would free no more.
    _MOST[0] = max(_MOST[0], _resident() + 300_000_000)


SMALL_FACES = "synthetic_faces/people_80_photos_2_size_32_seed_0"


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the session's datasets."""
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="session")
def small_faces(data_dir: Path) -> StoredDataset:
    """160 drawn faces of 80 people, 32 pixels a side, built once."""
    return find.open_dataset(SMALL_FACES, directory=str(data_dir), say=lambda line: None)


def small_values(data_dir: Path) -> ConfigDict:
    """A config that trains a narrow network on the small faces in a second."""
    values = ConfigDict()
    values.steps = 8
    values.data = ConfigDict(
        {"name": SMALL_FACES, "dir": str(data_dir), "resize": 32, "crop": 27, "batch_size": 16}
    )
    values.model = ConfigDict({"width": 0.05, "norm": "batch", "initialization": "matched"})
    values.optim = ConfigDict({"learning_rate": 1e-4})
    values.eval = ConfigDict({"every": 4, "log_every": 2, "batch_size": 16})
    return values


def small_file(directory: Path, *, steps: int, every: int, log_every: int) -> Path:
    """A config file of similar values, for commands in other processes."""
    path = directory / "small.py"
    path.write_text(f"""
from ml_collections import ConfigDict


def get_config():
    config = ConfigDict()
    config.steps = {steps}
    config.data = ConfigDict({{"name": "{SMALL_FACES}", "resize": 32, "crop": 27, "batch_size": 16}})
    config.model = ConfigDict({{"width": 0.05, "norm": "batch", "initialization": "matched"}})
    config.optim = ConfigDict({{"learning_rate": 1e-4}})
    config.eval = ConfigDict({{"every": {every}, "log_every": {log_every}, "batch_size": 16}})
    return config
""")
    return path


@pytest.fixture
def small_config(data_dir: Path, small_faces: StoredDataset) -> Config:
    """The small config, resolved; its dataset is built."""
    del small_faces  # only needs to exist
    return configuration.resolve(small_values(data_dir))


@pytest.fixture
def loose_promotion() -> Iterator[None]:
    """Allows Optax's Adam and cosine schedule, which mix dtypes, despite the tests' strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield
