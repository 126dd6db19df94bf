"""A full disk ends a run in one line, wherever the run writes, and leaves earlier files intact.

A limit on file sizes stands in for a full disk. tests/training/test_checkpoints.py covers checkpoints.
"""

import contextlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ageflax import bundle, config
from ageflax.bundle import files as bundle_files
from ageflax.data.building import find
from ageflax.errors import RunError
from ageflax.predict.annotation import Album
from ageflax.predict.frames import Frame, Seen
from ageflax.predict.output import Columns, Table
from ageflax.predict.sources import Source
from ageflax.runtime import command_line, files
from ageflax.runtime.lock import locked
from ageflax.training import cross_validation, run_fold
from ageflax.training.log import MetricsLog
from tests.conftest import SMALL_FACES, small_values
from tests.support import small_bundle


@contextlib.contextmanager
def full(most: int) -> Iterator[None]:
    """Limits files to so many bytes within the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_json_file_stays_as_it_was_and_the_line_names_it(tmp_path, capsys):
    path = tmp_path / "result.json"
    files.write_json(path, {"fold": 0})
    with full(100):
        assert command_line.run("train", lambda: files.write_json(path, list(range(1000)))) == 1
    assert capsys.readouterr().err == f"train: {path}: File too large\n"
    assert contents(tmp_path) == {"result.json": b'{\n  "fold": 0\n}\n'}


def rewritten(directory: Path) -> None:
    small_bundle.write(directory, "age")


# While writing the weights; and while writing the card, after them.
@pytest.mark.parametrize(("most", "name"), [(3000, "model.safetensors"), (1000, "README.md")])
def test_a_bundle_stays_as_it_was(tmp_path, capsys, monkeypatch, most, name):
    written = small_bundle.write(tmp_path / "bundle", "gender")
    before = contents(written)
    if name == "README.md":
        monkeypatch.setattr(bundle_files, "save_file", lambda tensors, path, metadata: path.touch())
    with full(most):
        assert command_line.run("train", lambda: rewritten(written)) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"train: {written / name}: File too large")
    assert line.count("\n") == 1
    assert contents(written) == before
    assert list(bundle.load(written).heads) == ["gender"]


def test_a_lock_that_does_not_fit_is_named(tmp_path, capsys):
    def train() -> None:
        with locked(tmp_path / "fold_0", say=print):
            pass

    with full(0):
        assert command_line.run("train", train) == 1
    assert capsys.readouterr().err == f"train: {tmp_path / 'fold_0' / '.lock'}: File too large\n"


@pytest.mark.parametrize("what", ["table", "copies"])
def test_what_is_predicted_is_named_where_it_does_not_fit(what, tmp_path, capsys):
    description = bundle.load(small_bundle.write(tmp_path / "bundle", "gender")).description
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)

    def predict() -> None:
        if what == "table":
            columns = Columns(description)
            with contextlib.closing(Table(tmp_path / "faces.csv", columns)) as table:
                table.add(Seen(Frame("a.png", 0, None, b""), ()))
        else:
            album = Album(tmp_path, [Source("a.png", Path("a.png"))], 1)
            album.add(Seen(Frame("a.png", 0, None, Path("a.png")), (), None, pixels))

    with full(50):
        assert command_line.run("predict", predict) == 1
    path = tmp_path / ("faces.csv" if what == "table" else "a.jpg")
    assert capsys.readouterr().err == f"predict: {path}: File too large\n"


def test_standard_output_is_named_where_it_is_full():
    code = (
        "import sys\n"
        "from ageflax.runtime import command_line\n"
        "sys.exit(command_line.run('predict', lambda: print('a face')))\n"
    )
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as nowhere:
        done = subprocess.run([sys.executable, "-c", code], stdout=nowhere, stderr=subprocess.PIPE,
                              text=True, env=variables)  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1,
        "predict: standard output: No space left on device\n",
    )


def _lines(log: MetricsLog) -> None:
    try:
        for step in range(1, 10_000):
            log.write({"step": step, "loss": 0.5})
    finally:
        log.close()


@pytest.mark.parametrize("which", ["metrics.jsonl", "events"])
def test_metrics_end_with_the_disk_and_do_not_wait_for_it(tmp_path, capsys, monkeypatch, which):
    log = MetricsLog(tmp_path, 0)
    if which == "events":
        monkeypatch.setattr(log._file, "write", lambda line: len(line), raising=False)
    threads = threading.active_count()
    with full(2000):
        assert command_line.run("train", lambda: _lines(log)) == 1
    assert capsys.readouterr().err == f"train: {tmp_path / 'metrics.jsonl'}: File too large\n"
    assert threading.active_count() == threads
    # The line that was cut short is dropped when the run resumes from its checkpoint's step.
    again = MetricsLog(tmp_path, 10)
    again.write({"step": 11, "loss": 0.25})
    again.close()
    steps = [line[:11] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == '{"step": 11'
    assert len(steps) == (11 if which == "metrics.jsonl" else 1)


def test_a_build_that_does_not_fit_leaves_nothing_and_is_done_anew(tmp_path):
    def built():
        return find.open_dataset(SMALL_FACES, directory=str(tmp_path), say=lambda line: None)

    with full(20_000), pytest.raises(RunError, match=r"cannot write .*: File too large; nothing"):
        built()
    assert not list(tmp_path.rglob("*.array_record*"))
    assert len(built()) == 160


def test_a_run_whose_bundle_did_not_fit_trains_no_step_again(
    data_dir, small_faces, tmp_path, monkeypatch
):
    found = config.resolve(small_values(data_dir), ("--config.fold=0",))
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(run_fold, "_write_bundle", lambda *arguments: _no_space())
        with pytest.raises(OSError, match="No space left"):
            cross_validation.run(found, tmp_path, say=said.append)
    assert not (tmp_path / "fold_0" / "result.json").exists()
    cross_validation.run(found, tmp_path, say=said.append)
    assert "fold 0: resuming from step 8 of 8" in said
    assert bundle.load(tmp_path / "fold_0").heads


def _no_space():
    raise OSError(28, "No space left on device")
