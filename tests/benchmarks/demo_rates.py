"""Measures pictures per second answered by the page's server, for one user and for two.

    python -m tests.benchmarks.demo_rates --data=FOLDER [--models=quickstart,levi] [--output=FILE.json]

FOLDER is the same as for predict_rates. README.md says what is measured.
"""

import argparse
import http.client
import itertools
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2

from ageflax.demo import serving
from ageflax.demo.app import application
from ageflax.errors import InputError
from ageflax.predict import Frame, Predictor, video
from ageflax.runtime import command_line, files
from tests.benchmarks import machine
from tests.benchmarks.predict_rates import MODELS
from tests.predict import drawn_models

_FRAMES, _SECONDS = 60, 4.0


def _frames(data: Path) -> list[bytes]:
    """Frames of the clip as the page sends them: JPEG, at most 640 pixels wide."""
    found = []
    for frame in itertools.islice(video.frames(str(data / "photos/faces_clip.mp4"), 0, 1), _FRAMES):
        pixels = frame.content
        scale = min(1.0, 640 / max(pixels.shape[:2]))  # pyright: ignore[reportAttributeAccessIssue]
        small = cv2.resize(pixels, None, fx=scale, fy=scale)  # pyright: ignore
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        found.append(cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, 80))[1].tobytes())
    return found


def _user(port: int, path: str, pictures: Sequence[bytes], until: float) -> int:
    """Sends requests on one connection until time is up; returns the number of answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    answers = 0
    for picture in itertools.cycle(pictures):
        if time.perf_counter() > until:
            break
        connection.request("POST", path, picture)
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise InputError(f"the server answered {response.status}")
        answers += 1
    connection.close()
    return answers


class _Clock:
    """Wall time, and processor time of all threads of this process, the users' included."""

    def __init__(self) -> None:
        self.started, self._busy = time.perf_counter(), time.process_time()

    def rate(self, count: int) -> tuple[float, float]:
        """(answers per second, milliseconds of processor time per answer)."""
        busy = time.process_time() - self._busy
        return count / (time.perf_counter() - self.started), 1000 * busy / max(count, 1)


def _asked(port: int, paths: Sequence[str], pictures: Sequence[bytes]) -> tuple[float, float]:
    """Result of _Clock.rate over all users, one per path."""
    _user(port, paths[0], pictures, time.perf_counter())
    with ThreadPoolExecutor(len(paths)) as users:
        clock = _Clock()
        until = clock.started + _SECONDS
        counts = list(users.map(lambda path: _user(port, path, pictures, until), paths))
        return clock.rate(sum(counts))


def _bare(predictor: Predictor, pictures: Sequence[bytes]) -> tuple[float, float]:
    """The same without a server, for frames one after another as from a camera."""
    frames = (Frame("#0", 0, k, picture) for k, picture in enumerate(itertools.cycle(pictures)))
    clock, count = _Clock(), 0
    for _ in predictor.stream(frames, live=True):
        count += 1
        if time.perf_counter() - clock.started > _SECONDS:
            break
    return clock.rate(count)


def _measure(model: Path, data: Path) -> dict[str, tuple[float, float]]:
    detector = str(data / "detector/face_detection_yunet_2023mar.onnx")
    predictor = Predictor(model, detector=detector, quick=False)
    pictures, photo = _frames(data), [(data / "photos/two_people.jpg").read_bytes()]
    server = serving.server(application(predictor))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        names = [f"/faces?stream=camera-{k}" for k in range(4)]
        _asked(port, names[:1], pictures[:2])
        found = {
            "camera, no server": _bare(predictor, pictures),
            "camera, one user": _asked(
                port, [names[0]] * 2, pictures
            ),  # the page has two in flight
            "camera, two users": _asked(port, [names[1]] * 2 + [names[2]] * 2, pictures),
            "photo of two, one user": _asked(port, ["/faces"], photo),
            "photo of two, two users": _asked(port, ["/faces"] * 2, photo),
        }
        server.should_exit = True
        thread.join(30)
    return found


def _run(options: argparse.Namespace) -> None:
    names = options.models.split(",")
    if unknown := set(names) - set(MODELS):
        raise InputError(f"--models: {', '.join(sorted(unknown))}: expected {', '.join(MODELS)}")
    described = machine.describe("tests.benchmarks.demo_rates", sys.argv[1:])
    rates: dict[str, Any] = {}
    for name in names:
        with tempfile.TemporaryDirectory() as directory:
            rates[name] = _measure(
                drawn_models.write(Path(directory) / "bundle", *MODELS[name]), options.data
            )
    print(
        f"{machine.headline(described)}; answers a second, all users"
        " together, and milliseconds of one core an answer:\n"
    )
    print(f"| | {' | '.join(names)} |\n| --- |{' --: |' * len(names)}")
    for row in rates[names[0]]:
        cells = (f"{rate:.1f} ({busy:.0f} ms)" for rate, busy in (rates[n][row] for n in names))
        print(f"| {row} | {' | '.join(cells)} |")
    if options.output:
        files.write_json(options.output, {"machine": described, "answers_per_second_and_ms": rates})


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.demo_rates")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", default="quickstart,levi")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    return command_line.run("demo_rates", lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
