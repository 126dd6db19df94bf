"""Who imports ageflax keeps the process as it was; commands quieten other libraries."""

import os
import subprocess
import sys
from pathlib import Path

SETTINGS = """
import logging, os, sys, threading, warnings

def settings():
    return (logging.getLogger("absl").level, threading.excepthook, dict(os.environ),
            list(warnings.filters))
"""

IMPORTS = """
# Other people's packages may do as they like; they come first.
import absl.logging, cv2, flax, grain, jax, matplotlib, optax, orbax.checkpoint, PIL.Image, scipy
import ml_collections, safetensors, tensorboardX, tensorflow_datasets
import array_record.python.array_record_module, huggingface_hub
from orbax.checkpoint._src.serialization import tensorstore_utils

before, counted = settings(), tensorstore_utils.get_tensorstore_raw_bytes
import ageflax
import ageflax.bundle
import ageflax.predict.predictor
import ageflax.predict.video
import ageflax.training.checkpoints
import ageflax.training.cross_validation
from pathlib import Path
ageflax.load, ageflax.Predictor
ageflax.training.checkpoints.Checkpoints(Path(sys.argv[1]), say=print).close()
for old, new in zip(before, settings(), strict=True):
    assert old == new, (old, new)
assert tensorstore_utils.get_tensorstore_raw_bytes is counted
ageflax.training.checkpoints.skip_byte_counts()
assert tensorstore_utils.get_tensorstore_raw_bytes is not counted
"""

COMMAND = """
from ageflax.errors import InputError
from ageflax.runtime import command_line

class Thrown(Exception):
    pass

def thread(name, error):
    def fail():
        raise error
    started = threading.Thread(target=fail, name=name)
    started.start()
    started.join()

def command():
    import absl.logging
    absl.logging.error("a save")
    assert os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "16"
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "protocol_whitelist;file"
    thread("save_thread", OSError("a full disk"))
    thread("other", Thrown("told"))
    warnings.warn_explicit("an odd palette", UserWarning, "Image.py", 1, module="PIL.Image")
    warnings.warn_explicit("another", UserWarning, "other.py", 1, module="other")
    import cv2
    assert cv2.imread("/nowhere/at.png") is None

for _ in range(2):
    assert command_line.run("some", command) == 0
assert not {"jax", "orbax", "PIL"} & set(sys.modules)
"""


def run(code: str, *words: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SETTINGS + code, *words],
        capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_imports_and_constructors_change_nothing_in_the_process(tmp_path):
    run(IMPORTS, str(tmp_path))


def test_a_command_quietens_what_it_reports_itself():
    errors = run(COMMAND, OPENCV_FFMPEG_LOGLEVEL="16")
    assert "a save" not in errors
    assert "a full disk" not in errors
    assert "an odd palette" not in errors
    assert errors.count("Thrown: told") == 2
    assert "another" in errors
    assert "nowhere" not in errors
