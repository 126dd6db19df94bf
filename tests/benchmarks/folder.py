"""Measures a folder of photographs: as a whole, one at a time, and against the sum of its parts.

python -m tests.benchmarks.folder --photos=FOLDER --detector=YUNET.onnx [--model=default] [--count=1000]

Parts are timed alone, on one thread, over a tenth of the photographs. If nothing waited, a photograph
would take their sum divided by the number of cores. One at a time is a call per photograph, as other
packages' samples have it.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ageflax.bundle import quality
from ageflax.data import images
from ageflax.errors import InputError
from ageflax.predict import given
from ageflax.predict.engine import ENGINES
from ageflax.predict.estimator import BATCHES
from ageflax.predict.frames import workers_here
from ageflax.predict.predictor import Predictor
from ageflax.runtime import command_line, memory
from tests.benchmarks import machine

_SUFFIXES = {".jpg", ".jpeg", ".png"}


def _each(work: Callable[[Any], Any], items: Iterable[Any]) -> tuple[list[Any], float]:
    """Results, and milliseconds an item."""
    items = list(items)
    began = time.perf_counter()
    found = [work(item) for item in items]
    return found, 1e3 * (time.perf_counter() - began) / len(items)


def _parts(predictor: Predictor, paths: Sequence[Path]) -> dict[str, float]:
    """Milliseconds a photograph of each part alone."""
    framing = predictor.framing

    def cut(pair: tuple[np.ndarray, Any]) -> list[np.ndarray]:
        pixels, faces = pair
        crops = [framing.cut(pixels, face) for face in faces]
        for crop, face in zip(crops, faces, strict=True):
            quality.measure(crop, framing.side(pixels, face))
        return crops

    cv2.setNumThreads(1)
    pictures, decoding = _each(lambda path: images.decode(images.read(path)), paths)
    faces, detecting = _each(predictor.detector, pictures)
    crops, cutting = _each(cut, zip(pictures, faces, strict=True))
    flat = list(itertools.chain(*crops))
    most = BATCHES[-1]
    together = [np.stack(flat[at : at + most]) for at in range(0, len(flat), most)]
    _, network = _each(predictor.estimator, together)
    # The network takes all cores by itself.
    network *= len(together) / len(paths) * workers_here()
    return {"decoding": decoding, "detection": detecting, "crops": cutting, "network": network}


def _rows(options: argparse.Namespace) -> Iterable[str]:
    files = sorted(p for p in options.photos.rglob("*") if p.suffix.lower() in _SUFFIXES)
    if not files:
        raise InputError(f"--photos={options.photos}: no photograph")
    paths = list(itertools.islice(itertools.cycle(files), options.count))
    sample = paths[: max(len(paths) // 10, 1)]
    for engine in options.engines.split(","):
        predictor = Predictor(
            options.model,
            detector=options.detector,
            engine=engine,
            quick=False,
            say=lambda line: None,
        )
        list(predictor.stream(given.frames(sample)))  # compiles
        parts = _parts(predictor, sample)
        _, single = _each(predictor.faces, sample)
        began = time.perf_counter()
        faces = sum(len(seen.faces) for seen in predictor.stream(given.frames(paths)))
        whole = 1e3 * (time.perf_counter() - began) / len(paths)
        bound = sum(parts.values()) / workers_here()
        cells = [*parts.values(), bound, whole, single]
        yield (
            f"| {engine} | {faces / len(paths):.2f} | "
            + " | ".join(f"{value:.1f}" for value in cells)
            + f" | {1e3 / whole:.1f} | {bound / whole:.2f} | {single / whole:.2f} |"
        )


def _run(options: argparse.Namespace, words: Sequence[str]) -> None:
    print(machine.headline(machine.describe("tests.benchmarks.folder", words)), "\n")
    print(
        "| engine | faces | decoding | detection | crops | network | sum / cores | folder | one at a time"
        " | photographs/s | bound / folder | one at a time / folder |\n|---|" + "--:|" * 11
    )
    for row in _rows(options):
        print(row, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.folder",
        description=(__doc__ or "").splitlines()[0],
        allow_abbrev=False,
    )
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--detector", default="auto", help="see ageflax.predict (default: auto)")
    parser.add_argument(
        "--model", default="default", help="see ageflax.predict (default: built in)"
    )
    parser.add_argument("--engines", default=",".join(ENGINES[1:]), metavar="A,B")
    parser.add_argument("--count", type=int, default=1000, help="photographs (default: 1000)")
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(words)
    return command_line.run("tests.benchmarks.folder", lambda: _run(options, words))


if __name__ == "__main__":
    memory.keep_freed()  # as ageflax.predict does
    sys.exit(main())
