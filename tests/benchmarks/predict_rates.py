"""Measures prediction, step by step and as a whole, and checks that its memory stays flat.

    python -m tests.benchmarks.predict_rates --data=FOLDER [--models=quickstart,levi,resnet34]
      [--frames=10000] [--output=FILE.json]

FOLDER holds photos/two_people.jpg, photos/group_of_19.jpg, photos/faces_clip.mp4 and
detector/face_detection_yunet_2023mar.onnx. Weights are random, which are as fast as any.
README.md says what is measured.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ageflax.data import images
from ageflax.errors import InputError
from ageflax.predict import video
from ageflax.predict.frames import Frame, workers_here
from ageflax.predict.predictor import Predictor
from ageflax.predict.tracking import followed
from ageflax.runtime import command_line, files
from ageflax.runtime.progress import say
from tests.benchmarks import machine
from tests.predict import drawn_models

# Changes to the tests' tiny network.
_QUICKSTART = ("data.resize=64", "data.crop=59", "model.width=0.35")
MODELS = {
    "quickstart": _QUICKSTART,
    "levi": ("data.resize=256", "data.crop=227", "model.width=1.0", "model.norm=lrn"),
    "resnet34": ("data.resize=256", "data.crop=224", "model.name=resnet34"),
}
_LEAST = 2.0  # seconds per rate


def _rate(work: Callable[[], Any], *, per_call: int = 1) -> float:
    """Units per second, after one uncounted call."""
    work()
    calls, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < _LEAST:
        work()
        calls += 1
    return calls * per_call / seconds


def _resident() -> int:
    """Resident memory of this process, bytes."""
    pages = Path("/proc/self/statm")
    if pages.is_file():
        return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _video_rate(predictor: Predictor, clip: Path, *, live: bool) -> float:
    """Frames per second of the whole clip, tracked and smoothed."""
    count, started = 0, time.perf_counter()
    for _ in followed(predictor.stream(video.frames(str(clip), 0, 1), live=live), 0.8):
        count += 1
    return count / (time.perf_counter() - started)


def _memory(predictor: Predictor, clip: Path, most: int) -> dict[str, int]:
    """Resident bytes after 10, 1,000 and `most` frames of the repeated clip."""

    def endless() -> Iterator[Frame]:
        numbers = itertools.count()
        while True:
            for frame in video.frames(str(clip), 0, 1):
                yield Frame(frame.source, 0, next(numbers), frame.content)

    found = {}
    stream = predictor.stream(itertools.islice(endless(), most))
    for count, _ in enumerate(followed(stream, 0.8), start=1):
        if count in (10, 1000, most):
            found[str(count)] = _resident()
    return found


def _cold(model: Path, yunet: Path, photo: Path) -> float:
    """Seconds from the start of the command to its first line."""
    words = ["-m", "ageflax.predict", f"--model={model}", f"--detector={yunet}", str(photo)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words],
        env=machine.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.perf_counter() - started
    process.stdout.close()
    process.wait()
    json.loads(line)
    return seconds


def _of_model(name: str, folder: Path, data: Path, yunet: Path, frames: int) -> dict[str, Any]:
    model = drawn_models.write(folder / name, *MODELS[name])
    photo, clip = data / "photos" / "two_people.jpg", data / "photos" / "faces_clip.mp4"
    predictor = Predictor(model, detector=str(yunet), quick=False)
    size = predictor.framing.size
    faces = np.random.default_rng(0).integers(0, 256, (32, size, size, 3), dtype=np.uint8)
    result: dict[str, Any] = {
        f"model, faces/s, batch {count}": _rate(
            lambda n=count: predictor.estimator(faces[:n]), per_call=count
        )
        for count in (1, 8, 32)
    }
    many = [photo] * 16
    result["two_people.jpg, photographs/s"] = _rate(lambda: predictor(many), per_call=len(many))
    result["two_people.jpg, one at a time, s"] = 1 / _rate(lambda: predictor(photo))
    _video_rate(predictor, clip, live=False)  # compiles, and allocates the detector's buffers
    result["clip as a file, frames/s"] = _video_rate(predictor, clip, live=False)
    result["clip as a camera, frames/s"] = _video_rate(predictor, clip, live=True)
    result["two_people.jpg, start to first answer, s"] = _cold(model, yunet, photo)
    if frames:
        result["resident bytes after frames"] = _memory(predictor, clip, frames)
    return result


def measure(data: Path, models: Sequence[str], frames: int) -> dict[str, Any]:
    """All rates of one machine in one run.

    Raises:
      InputError: a file is absent.
    """
    yunet = data / "detector" / "face_detection_yunet_2023mar.onnx"
    crowd, clip = data / "photos" / "group_of_19.jpg", data / "photos" / "faces_clip.mp4"
    for path in (yunet, crowd, clip, data / "photos" / "two_people.jpg"):
        if not path.is_file():
            raise InputError(f"--data={data}: {path.relative_to(data)} is absent")
    if workers_here() > 1:
        cv2.setNumThreads(1)  # as the command does
    content = crowd.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        first = drawn_models.write(Path(folder) / "first", *_QUICKSTART)
        detector = Predictor(first, detector=str(yunet)).detector
        picture = images.decode(content)
        frame = next(video.frames(str(clip), 0, 1)).content
        assert isinstance(frame, np.ndarray)
        frames_of_clip = sum(1 for _ in video.frames(str(clip), 0, 1))
        steps = {
            "decode group_of_19.jpg, 1024x715, images/s": _rate(lambda: images.decode(content)),
            "decode the clip, 640x360, frames/s": _rate(
                lambda: [None for _ in video.frames(str(clip), 0, 1)], per_call=frames_of_clip
            ),
            "detect in group_of_19.jpg, images/s": _rate(lambda: detector(picture)),
            "detect in a frame of the clip, frames/s": _rate(lambda: detector(frame, fast=True)),
        }
        result: dict[str, Any] = {"one thread": steps}
        for name in models:
            say(f"{name} ...")
            # One model's memory stands for the others'.
            limit = frames if name == models[0] else 0
            result[name] = _of_model(name, Path(folder), data, yunet, limit)
    return result


def _lines(result: dict[str, Any]) -> Iterator[str]:
    for part, rates in result.items():
        yield f"\n{part}"
        for name, value in rates.items():
            if isinstance(value, dict):
                value = ", ".join(f"{count}: {size / 1e6:.0f} MB" for count, size in value.items())
                yield f"  {name}: {value}"
            else:
                yield f"  {name}: {value:.3g}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.predict_rates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--models", default=",".join(MODELS), help="some of them")
    parser.add_argument("--frames", type=int, default=10_000, help="0 measures no memory")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    return parser


def _run(options: argparse.Namespace) -> None:
    names = options.models.split(",")
    if unknown := sorted(set(names) - set(MODELS)):
        raise InputError(f"--models: {', '.join(unknown)}: known are {', '.join(MODELS)}")
    described = machine.describe("tests.benchmarks.predict_rates", sys.argv[1:])
    result = measure(options.data, names, options.frames)
    print(machine.headline(described))
    print("\n".join(_lines(result)))
    if options.output is not None:
        files.write_json(options.output, {"machine": described, "rates": result})


if __name__ == "__main__":
    sys.exit(command_line.run("predict_rates", lambda: _run(_parser().parse_args())))
