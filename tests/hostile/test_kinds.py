"""A few hostile inputs of each kind; `python -m tests.hostile` tries thousands."""

import random
import resource
import threading

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.hostile import guard, trial
from tests.hostile.kinds import KINDS

# Slow readers get fewer inputs; kinds that take seconds to set up are left to the command.
_FEW = {"bundle_config": 8, "bundle_weights": 6, "checkpoint_sums": 5, "checkpoint_metadata": 5,
        "torch_zip": 8, "torch_legacy": 6, "onnx_weights": 6, "caffemodel": 15}  # fmt: skip
_QUICK = [kind for kind in KINDS if not kind.startswith(("run_", "predict", "onnx_model"))]


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "folder"
    made.mkdir()
    return made


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # for damaged EXIF
@pytest.mark.parametrize("kind", _QUICK)
def test_hostile_input_is_read_or_refused_in_a_message(kind, folder):
    case = KINDS[kind](folder)
    trial.check_seeds(case, folder)
    before, said = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, set()

    @settings(
        derandomize=True, database=None, deadline=None, max_examples=_FEW.get(kind, 30),
        phases=(Phase.generate,), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(st.integers(0, 2**32))
    def attempt(seed):
        content = trial.inputs_of(random.Random(seed), case)
        note(f"{content[:300]!r}")
        said.add(bool(trial.attempt(case, content, folder)))

    attempt()
    assert True in said  # some of them are bad enough
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kilobytes


def test_a_thread_that_is_looked_at_as_the_watch_ends_does_not_prolong_it(folder, monkeypatch):
    looked_at, ended = threading.Event(), threading.Event()

    def slowly(path, roots):
        looked_at.set()
        return ended.wait(60)

    with guard.watched(folder):
        monkeypatch.setattr(guard, "_inside", slowly)
        thread = threading.Thread(target=(folder / "within").touch)
        thread.start()
        assert looked_at.wait(60)
    ended.set()
    thread.join()
    monkeypatch.undo()
    (folder.parent / "outside").touch()  # the watch has ended
    assert (folder / "within").exists()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder.parent / "secret").read_bytes(), "out of its folder"),
        (lambda folder: (folder / "../new").write_bytes(b""), "out of its folder"),
        (lambda folder: __import__("os").system("true"), "out of its folder"),
        (lambda folder: __import__("pickle").loads(b"cos\nsystem\n."), "out of its folder"),
        (lambda folder: 1 / 0, "ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_must_never_happen_is_seen(folder, harm, words):
    case = KINDS["safetensors"](folder)
    trial.check_seeds(case, folder)
    harmed = trial.Case(case.seeds, lambda content: harm(folder))
    with pytest.raises(trial.Fault, match=words):
        trial.attempt(harmed, b"", folder)
    assert not (folder.parent / "new").exists()
