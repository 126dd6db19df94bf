"""What lies in the environment, not in the program, is one line and exit code 2."""

import os
import subprocess
import sys
import threading

import pytest

from ageflax import main
from ageflax.data.building import find
from ageflax.errors import InputError, RunError
from ageflax.runtime import environment
from tests.support import small_bundle

GPU = 'no GPU that JAX can use; check nvidia-smi and pip install "ageflax[cuda]"'


def command(*words: str, **variables: str) -> tuple[int, str]:
    """Exit code and standard error of a command in its own process."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env=os.environ | variables,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """The words of the command that exports a small bundle."""
    folder = tmp_path_factory.mktemp("environment")
    model = small_bundle.write(folder / "bundle", "gender")
    return "ageflax.export", f"--model={model}", f"--output={folder / 'model.onnx'}"


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="a machine with a GPU")  # noqa: PTH110
@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("JAX_PLATFORMS", "cuda", f"JAX_PLATFORMS=cuda: {GPU}, or set JAX_PLATFORMS=cpu"),
        ("JAX_PLATFORMS", "gpu", f"JAX_PLATFORMS=gpu: {GPU}, or set JAX_PLATFORMS=cpu"),
        ("JAX_PLATFORMS", "tpu", "JAX_PLATFORMS=tpu: no TPU that JAX can use ("),
        ("JAX_PLATFORMS", "foo", "JAX_PLATFORMS=foo: JAX has no such platform; name cuda or tpu, or"),
        ("JAX_TRANSFER_GUARD", "disallow", "JAX_TRANSFER_GUARD=disallow: forbids the transfers of"),
        ("JAX_TRANSFER_GUARD", "foo", 'Invalid value "foo" for JAX flag jax_transfer_guard; correct'),
        ("JAX_ENABLE_X64", "maybe", "invalid truth value 'maybe' for environment 'JAX_ENABLE_X64'; "),
    ],
)  # fmt: skip
def test_jax_does_not_start_or_may_not_work(variable, value, line, export):
    code, errors = command(*export, **{variable: value, "TPU_SKIP_MDS_QUERY": "1"})
    assert code == 2, errors
    # The weights' terms may come before.
    (told,) = [line for line in errors.splitlines() if not line.startswith("weights trained on ")]
    assert told.startswith(f"ageflax.export: {line}")


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="a machine with a GPU")  # noqa: PTH110
def test_training_without_its_device_writes_nothing(tmp_path):
    words = ("ageflax.main", "--config=configs/quickstart.py", f"--workdir={tmp_path / 'run'}")
    code, errors = command(*words, JAX_PLATFORMS="cuda")
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.startswith(f"ageflax.main: JAX_PLATFORMS=cuda: {GPU}")
    assert not (tmp_path / "run").exists()


class JaxRuntimeError(RuntimeError):
    """Stands in for JAX's, which no test can provoke without a GPU."""


START = "Unable to initialize backend 'cuda': "


@pytest.mark.parametrize(
    "error",
    [
        JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes."),
        JaxRuntimeError("INTERNAL: CUDA error: CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
        JaxRuntimeError("FAILED_PRECONDITION: DNN library initialization failed. Look at the errors"),
        RuntimeError(f"{START}INTERNAL: no supported devices found for platform CUDA (you may need"),
        RuntimeError(f"{START}INTERNAL: failed call to cuDevicePrimaryCtxRetain: OUT_OF_MEMORY (set JAX"),
    ],
)  # fmt: skip
def test_a_gpu_whose_memory_is_taken(error):
    line = environment.fault(error)
    assert line is not None and "\n" not in line
    assert line.startswith("the device has too little free memory (")
    assert "end other programs on it (nvidia-smi lists them)" in line


def test_a_driver_that_does_not_start_is_quoted(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS")
    error = RuntimeError(f"{START}INTERNAL: cuInit: driver too old (you may need to uninstall the")
    assert environment.fault(error) == (
        "cuda: JAX cannot start it (INTERNAL: cuInit: driver too old); repair its driver, or set"
        " JAX_PLATFORMS=cpu"
    )


def test_a_guard_is_named_below_a_failed_run_and_other_failures_stay(monkeypatch):
    monkeypatch.setenv("JAX_TRANSFER_GUARD_HOST_TO_DEVICE", "disallow")
    failed = RunError("the device failed")
    failed.__cause__ = JaxRuntimeError("INVALID_ARGUMENT: Disallowed host-to-device transfer: ...")
    assert environment.fault(failed) == (
        "JAX_TRANSFER_GUARD_HOST_TO_DEVICE=disallow: forbids the transfers of every batch; unset it"
    )
    failed.__cause__ = JaxRuntimeError("RESOURCE_EXHAUSTED: in the midst of training")
    for error in (failed, ValueError("a bug"), AssertionError(), RuntimeError("out of memory")):
        assert environment.fault(error) is None


HOMELESS = """
import pwd, sys
def absent(*_): raise KeyError("getpwuid(): uid not found: 23456")
pwd.getpwuid = absent
from ageflax import main
sys.exit(main.main(["--config=configs/quickstart.py", *sys.argv[1:]]))
"""


def test_a_user_without_a_home(tmp_path):
    variables = {k: v for k, v in os.environ.items() if k not in ("HOME", "TFDS_DATA_DIR")}
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS, f"--workdir={tmp_path / 'run'}"],
        env=variables, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "ageflax.main: data.dir or TFDS_DATA_DIR: ~/tensorflow_datasets: this user has no home folder;"
        " name a folder by its whole path\n"
    )


def test_main_in_a_thread_of_another_program(capsys):
    codes = []
    words = ["--config=configs/levi.py", "--config.fold=7"]
    thread = threading.Thread(target=lambda: codes.append(main.main(words)))
    thread.start()
    thread.join()
    assert codes == [2]
    assert capsys.readouterr().err == "ageflax.main: fold = 7: must be between 0 and 4\n"


@pytest.mark.parametrize(
    ("word", "start"),
    [
        ("--workdir=gs://bucket/run", "ageflax.main: argument --workdir: gs://bucket/run: an address,"),
        ("--config.data.dir=gs://bucket", "ageflax.main: data.dir = gs://bucket: an address, not a path"),
        ("--config.data.manual_dir=s3://b/a", "ageflax.main: data.manual_dir = s3://b/a: an address, not"),
    ],
)  # fmt: skip
def test_a_bucket_is_refused_and_no_folder_is_named_gs(word, start, tmp_path, capsys, monkeypatch):
    levi = os.path.abspath("configs/levi.py")  # noqa: PTH100
    monkeypatch.chdir(tmp_path)
    try:
        code = main.main([f"--config={levi}", word])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    line = capsys.readouterr().err
    assert line.startswith(start)
    assert "mount the bucket (gcsfuse for gs://, mount-s3 for s3://)" in line
    assert line.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_default_folder_of_datasets_may_not_be_a_bucket_either(monkeypatch):
    from tensorflow_datasets.core import constants

    monkeypatch.setattr(constants, "DATA_DIR", "gs://bucket/datasets")
    with pytest.raises(
        InputError, match=r"^data.dir or TFDS_DATA_DIR: gs://bucket/datasets: an addr"
    ):
        find.data_dir("")
