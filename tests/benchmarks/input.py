"""Measures how fast stored photographs become batches, step by step, beside libjpeg-turbo and other loaders.

    python -m tests.benchmarks.input [--images=FOLDER] [--torch_python=PYTHON] [--tf_python=PYTHON]

README.md says what is measured, and what is not.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np

from ageflax.augment.views import Preprocessing, training_views
from ageflax.data import batches, images, pixel_cache, reading
from ageflax.data.batches import Batch
from ageflax.data.building import find
from ageflax.data.dataset import StoredDataset
from ageflax.data.order import ShuffledRows
from ageflax.errors import InputError, RunError
from ageflax.runtime import command_line, files
from ageflax.runtime.mesh import make_mesh
from ageflax.runtime.progress import say
from tests.benchmarks import machine
from tests.benchmarks.peer import Peer

_PEERS = {
    "torch": Path(__file__).with_name("torch_input_peer.py"),
    "tensorflow": Path(__file__).with_name("tf_input_peer.py"),
}
# Faces per timed pass; the few files are read repeatedly.
_PASS = 200

# (faces, seconds).
Timed = Callable[[], tuple[int, float]]


def _contents(stored: StoredDataset, folder: str, count: int) -> list[bytes]:
    """JPEGs of a folder, or the dataset's own."""
    if not folder:
        return [example["image"] for example in stored.examples(range(count))]
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() == ".jpg")
    if not paths:
        raise InputError(f"--images={folder}: no .jpg file in it")
    return [images.read(path) for path in paths[:count]]


def _libjpeg(contents: Sequence[bytes]) -> int:
    """Decodes and discards by OpenCV's libjpeg-turbo, the minimum work of any loader."""
    for content in contents:
        cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return len(contents)


def _squares(contents: Sequence[bytes], size: int, interpolation: str) -> int:
    batch = np.empty((len(contents), size, size, 3), np.uint8)
    for content, out in zip(contents, batch, strict=True):
        images.square(content, size, interpolation=interpolation, out=out)
    return len(contents)


def _timed(work: Callable[[], int]) -> Timed:
    """Rate by this thread's own processor time, which a busy machine does not change."""

    def timed() -> tuple[int, float]:
        began = time.thread_time()
        return work(), time.thread_time() - began

    return timed


def _one_core(contents: list[bytes], size: int) -> dict[str, Timed]:
    """Rates of one thread."""
    return {
        "libjpeg-turbo alone": _timed(lambda: _libjpeg(contents)),
        **{
            f"decoded, {name}": _timed(lambda name=name: _squares(contents, size, name))
            for name in images.INTERPOLATIONS
        },
    }


def _batches(source: batches.Batches, options: argparse.Namespace, *, ahead: int) -> Timed:
    """Batches of a source, cropped and mirrored on the device.

    Each turn has its own stream, read to its end: otherwise its workers would take the cores from the next
    row. Batches prefetched before and after the counted ones do not count.
    """
    batch, faces = options.batch, len(source.labels["age"])
    count = -(-_PASS // batch)
    pieces = [range(k, k + 1) for k in range(ahead + count + ahead)]
    recipe = Preprocessing(crop=options.crop, mirror=True, channels="rgb")
    mean = np.full((1, 1, 3), 127.0, np.float32)
    views = jax.jit(lambda key, faces: training_views(key, faces, mean, recipe))
    key = jax.random.key(0)

    def take(made: Iterator[tuple[Batch]], number: int) -> None:
        jax.block_until_ready(
            [views(key, batch.images) for (batch,) in itertools.islice(made, number)]
        )

    def timed() -> tuple[int, float]:
        made = source.train_inputs(ShuffledRows(np.arange(faces), (0, 0)), pieces, batch)
        take(made, ahead)
        began = machine.clock()
        take(made, count)
        seconds = machine.clock() - began
        take(made, ahead)
        return count * batch, seconds

    return timed


def _whole(
    stored: StoredDataset, options: argparse.Namespace
) -> tuple[dict[str, Timed], dict[str, float]]:
    """Rates from records to augmented batches, streamed and cached; seconds of the first and second start."""
    mesh, labels = make_mesh(), {"age": np.zeros(len(stored), np.int32)}
    found: dict[str, Timed] = {}
    for name in ("bilinear", "reduced"):
        pixels = reading.StoredPixels(stored, reading.Decoding(options.size, name))
        for workers in sorted({0, options.workers}):
            source = batches.StreamedBatches(pixels, labels, mesh, workers=workers)
            where = f"{workers} processes" if workers else "threads"
            # A worker has four batches made and four in its queue; grain holds others in transit.
            ahead = 20 * workers if workers else 6
            found[f"streamed, {name}, {where}"] = _batches(source, options, ahead=ahead)
    decoding, starts = reading.Decoding(options.size, "bilinear"), {}
    for name in ("first", "second"):
        began = machine.clock()
        loaded = pixel_cache.load(stored, decoding)
        starts[name] = machine.clock() - began
    assert loaded.pixels is not None
    kept = batches.HostBatches(loaded.pixels, labels, mesh)
    found["prepared, memory-mapped"] = _batches(kept, options, ahead=4)
    return found, starts


def _peers(
    folder: Path, count: int, options: argparse.Namespace, failed: dict[str, str]
) -> dict[str, Peer]:
    found = {}
    repeats = -(-_PASS // count)
    pythons = {"torch": options.torch_python, "tensorflow": options.tf_python}
    for name, python in pythons.items():
        for workers in sorted({0, options.workers}) if python else ():
            label = f"{name}, {workers} workers" if workers else f"{name}, one thread"
            given = {"folder": str(folder), "repeats": repeats, "size": options.size}
            try:
                found[label] = Peer(
                    python, _PEERS[name], crop=options.crop, batch=options.batch, workers=workers, **given
                )  # fmt: skip
            except RunError as error:
                failed[label] = str(error)
    return found


def differences(contents: Sequence[bytes], size: int) -> dict[str, float]:
    """Mean and largest difference of `reduced` pixels from `area` ones and from `bilinear`, of 255."""
    found = {}
    reduced = [images.square(c, size, interpolation="reduced").astype(int) for c in contents]
    for name in ("area", "bilinear"):
        other = [images.square(content, size, interpolation=name) for content in contents]
        apart = np.abs(np.stack(reduced) - np.stack(other))
        found |= {f"{name}, mean": float(apart.mean()), f"{name}, most": float(apart.max())}
    return found


def measure(stored: StoredDataset, options: argparse.Namespace) -> dict[str, Any]:
    """Rates of all rows, turn by turn."""
    contents = _contents(stored, options.images, options.count)
    failed: dict[str, str] = {}
    alone = _one_core(contents, options.size)
    whole, starts = _whole(stored, options)
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for k, content in enumerate(contents):
            (Path(folder) / f"{k:05d}.jpg").write_bytes(content)
        peers = _peers(Path(folder), len(contents), options, failed)
        repeated = -(-_PASS // len(contents)) * len(contents)
        try:
            for timed in (*alone.values(), *whole.values()):
                timed()
            for turn in range(options.turns):
                for name, timed in (alone | whole).items():
                    count, seconds = timed()
                    rates.setdefault(name, []).append(count / seconds)
                for name, peer in peers.items():
                    rates.setdefault(name, []).append(repeated / peer.seconds(1)[0])
                say(f"turn {turn + 1} of {options.turns}")
        finally:
            for peer in peers.values():
                peer.close()
    shapes = {"{}x{}".format(*images.decode(content).shape[:2]) for content in contents}
    return {
        "images": {
            "count": len(contents),
            "bytes": sum(map(len, contents)) / len(contents),
            "shapes": sorted(shapes)[:5],
        },
        "size": options.size,
        "one_core": [*alone, *(name for name in rates if name.endswith("one thread"))],
        "images_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "turns": rates,
        "starts": starts,
        "faces": len(stored),
        "reduced_differs_from": differences(contents, options.size),
        "failed": failed,
    }


def markdown(described: dict[str, Any], found: dict[str, Any]) -> str:
    """The results as GitHub's Markdown."""
    cores, rates = os.cpu_count() or 1, found["images_per_second"]
    base = rates["libjpeg-turbo alone"]
    lines = ["| | images/s | a core | over libjpeg-turbo alone |", "| --- | --: | --: | --: |"]
    for name, rate in rates.items():
        core = rate if name in found["one_core"] else rate / cores
        lines.append(f"| {name} | {rate:.0f} | {core:.0f} | {core / base:.2f} |")
    about = found["images"]
    apart = ", ".join(
        f"{name} {value:.2f}" for name, value in found["reduced_differs_from"].items()
    )
    return "\n".join(
        [
            f"{machine.headline(described)}; {about['count']} JPEGs of {', '.join(about['shapes'])},"
            f" {about['bytes'] / 1e3:.0f} kB each, to {found['size']}",
            "",
            *lines,
            "",
            f"First start {found['starts']['first']:.2f} s, second {found['starts']['second']:.2f} s"
            f" ({found['faces']} faces). Pixels of reduced differ from those of {apart} (of 255).",
            *(f"{name}: {error}" for name, error in found["failed"].items()),
        ]
    )


def _run(options: argparse.Namespace, words: Sequence[str]) -> None:
    if min(options.turns, options.count, options.batch) < 1 or options.crop > options.size:
        raise InputError("--turns, --count and --batch are at least 1, and --crop at most --size")
    cv2.setNumThreads(1)
    described = machine.describe("tests.benchmarks.input", words)
    people = max(-(-options.count // 4), 40)  # the fewest that have every age group
    name = f"synthetic_faces/people_{people}_photos_4_size_{options.source}_seed_0"
    with tempfile.TemporaryDirectory() as folder:
        stored = find.open_dataset(name, directory=options.data_dir or folder, say=say)
        found = measure(stored, options)
    if options.output:
        files.write_json(options.output, {"machine": described, **found})
    print(markdown(described, found))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.input",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--images", default="", help="a folder of JPEGs for the one-core rows")
    parser.add_argument("--source", type=int, default=816, help="side of drawn photographs")
    parser.add_argument("--size", type=int, default=256, help="side they are resized to")
    parser.add_argument("--crop", type=int, default=227)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--count", type=int, default=120, help="images in use")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--data_dir", default="", help="folder in which to keep the drawn dataset")
    parser.add_argument("--torch_python", default="", help="a Python with torch and torchvision")
    parser.add_argument("--tf_python", default="", help="a Python with tensorflow")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(words)
    return command_line.run("tests.benchmarks.input", lambda: _run(options, words))


if __name__ == "__main__":
    sys.exit(main())
