"""Measures a model's latency in JAX, onnxruntime, OpenCV's DNN and PyTorch, turn by turn.

python -m tests.benchmarks.inference [--torch_python=/path/to/python] [--configs=levi,resnet34] [--turns=5]

Weights are random, which changes no time. Each runtime gets the same crop, in the layout of the peers
(--layout=nchw_bgr_float), since OpenCV reads only floats; JAX runs the same function, compiled. onnxruntime
also takes the project's own layout, uint8 NHWC, with the preprocessing inside. PyTorch runs in its own
process, for the trunks of torch_peer.py.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
import onnxruntime

from ageflax import config as configuration
from ageflax.bundle import Model, load
from ageflax.errors import InputError, RunError
from ageflax.export import write
from ageflax.export.serving import serving
from ageflax.models.layers.platform import traced_for
from ageflax.predict.estimator import Estimator
from ageflax.runtime import command_line, files, memory
from ageflax.runtime.progress import say
from tests.benchmarks import machine
from tests.benchmarks.options import CONFIGS
from tests.benchmarks.peer import Peer
from tests.export import bundles

_DEFAULT = "levi,resnet34,multitask,faces_scratch,faces_age,vgg16_dex"
_BATCHES = (1, 32)
_PEER = Path(__file__).with_name("torch_peer.py")
_TORCH_MODES = ("eager", "channels_last")
_TORCH_CALLS = 3  # a turn

Answer = Callable[[np.ndarray], Any]


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:160]


def _session(path: Path) -> Answer:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


def _opencv(path: Path) -> Answer:
    network = cv2.dnn.readNetFromONNX(str(path))
    names = network.getUnconnectedOutLayersNames()

    def answer(images: np.ndarray) -> Any:
        network.setInput(images)
        return network.forward(names)

    return answer


def _jax(model: Model) -> Answer:
    served = serving(model, layout="nchw_bgr_float", crops="center")

    def answered(variables: Any, images: jax.Array) -> Any:
        with traced_for(jax.default_backend()):  # as evaluation and prediction are
            return served(variables, images)

    compiled, weights = jax.jit(answered), jax.device_put(served.variables)
    return lambda images: [np.asarray(x) for x in compiled(weights, images)]


def _time(answer: Answer, images: np.ndarray, least: float) -> list[float]:
    """Seconds of each call in a turn of at least `least` seconds, after one untimed call."""
    answer(images)
    found: list[float] = []
    began = time.perf_counter()
    while not found or time.perf_counter() - began < least:
        started = time.perf_counter()
        answer(images)
        found.append(time.perf_counter() - started)
    return found


def _runtimes(
    model: Model, folder: Path
) -> tuple[dict[str, tuple[Answer, bool]], dict[str, int], dict[str, str]]:
    """Functions, each with True if it takes the peers' layout; file sizes; files that could not be read."""
    sizes, made, failed = {}, {}, {}
    for name, layout, precision in (
        ("float32", "nhwc_rgb_uint8", "float32"),
        ("float16", "nhwc_rgb_uint8", "float16"),
        ("int8", "nhwc_rgb_uint8", "int8"),
        ("peers", "nchw_bgr_float", "float32"),
    ):
        path = folder / f"{name}.onnx"
        sizes[name] = write.export(model, path, layout=layout, precision=precision).size
        say(f"  {path.name}: {sizes[name] / 1e6:.1f} MB")
    makers: dict[str, tuple[Callable[[], Answer], bool]] = {
        "onnxruntime": (lambda: _session(folder / "peers.onnx"), True),
        "onnxruntime uint8": (lambda: _session(folder / "float32.onnx"), False),
        "onnxruntime float16": (lambda: _session(folder / "float16.onnx"), False),
        "onnxruntime int8": (lambda: _session(folder / "int8.onnx"), False),
        "jax": (lambda: _jax(model), True),
        "bundle": (lambda: lambda faces: jax.device_get(model(faces)), False),
        "predictor jax": (lambda: Estimator(model, engine="jax"), False),
        "predictor onnxruntime": (lambda: Estimator(model, engine="onnxruntime"), False),
        "opencv": (lambda: _opencv(folder / "peers.onnx"), True),
    }
    for name, (make, peers) in makers.items():
        try:
            made[name] = make(), peers
        except Exception as error:  # whatever it is, the others continue
            failed[name] = _first_line(error)
    return made, sizes, failed


def _torch(
    python: str, name: str, batch: int, model: Model, failed: dict[str, str]
) -> dict[str, Peer]:
    """One process per mode; none without --torch_python."""
    found = {}
    classes = len(next(iter(model.heads.values())))
    for mode in _TORCH_MODES if python else ():
        opened = {"name": name, "mode": mode, "batch": batch, "crop": model.config["input"]["crop"]}
        try:
            found[f"torch {mode}"] = Peer(
                python, _PEER, task="inference", classes=classes, **opened
            )
        except RunError as error:
            failed[f"torch {mode}, batch {batch}"] = str(error)
    return found


def _inputs(spec: dict[str, Any], batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces as the project takes them, and their centre crops as the peers do."""
    crop, resize = spec["crop"], spec["resize"]
    rng, top = np.random.default_rng(0), (resize - crop) // 2
    faces = rng.integers(0, 256, (batch, resize, resize, 3), dtype=np.uint8)
    part = faces[:, top : top + crop, top : top + crop, ::-1].transpose(0, 3, 1, 2)
    return faces, np.ascontiguousarray(part, np.float32)


def _measure(name: str, model: Model, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Median milliseconds per call, by runtime and batch."""
    made, sizes, failed = _runtimes(model, folder)
    seconds: dict[tuple[str, int], list[float]] = {}
    for batch in _BATCHES:
        faces, blob = _inputs(model.config["input"], batch)
        peers = _torch(options.torch_python, name, batch, model, failed)
        try:
            for turn in range(options.turns):
                for runtime, (answer, takes_blob) in list(made.items()):
                    try:
                        found = _time(answer, blob if takes_blob else faces, options.least)
                    except Exception as error:
                        failed[f"{runtime}, batch {batch}"] = _first_line(error)
                        continue
                    seconds.setdefault((runtime, batch), []).extend(found)
                for runtime, peer in peers.items():
                    found = peer.seconds(_TORCH_CALLS)
                    seconds.setdefault((runtime, batch), []).extend(found)
                say(f"  batch {batch}: turn {turn + 1} of {options.turns}")
        finally:
            for peer in peers.values():
                peer.close()
    results: dict[str, dict[str, float]] = {}
    for (runtime, batch), values in seconds.items():
        results.setdefault(runtime, {})[str(batch)] = 1e3 * statistics.median(values)
    return {"bytes": sizes, "milliseconds": results, "failed": failed}


def _table(found: dict[str, Any], described: dict[str, Any]) -> str:
    names = list(dict.fromkeys(n for each in found.values() for n in each["milliseconds"]))
    lines = [machine.headline(described), ""]
    lines.append("| model | batch | " + " | ".join(names) + " | MB float32 / float16 / int8 |")
    lines.append("|---|---|" + "---|" * (len(names) + 1))
    for config, each in found.items():
        sizes = " / ".join(
            f"{each['bytes'][key] / 1e6:.1f}" for key in ("float32", "float16", "int8")
        )
        for batch in map(str, _BATCHES):
            cells = [each["milliseconds"].get(name, {}).get(batch) for name in names]
            texts = ["" if value is None else f"{value:.1f}" for value in cells]
            lines.append(f"| {config} | {batch} | {' | '.join(texts)} | {sizes} |")
    lines.append("\nMilliseconds a call, median.")
    for config, each in found.items():
        lines += [f"{config}: {name}: {error}" for name, error in each["failed"].items()]
    return "\n".join(lines)


def _run(options: argparse.Namespace, words: Sequence[str]) -> None:
    names = options.configs.split(",")
    known = {path.stem for path in CONFIGS.glob("*.py")}
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"--configs: {', '.join(unknown)} not among {', '.join(sorted(known))}")
    if options.turns < 1:
        raise InputError("--turns is at least 1")
    cv2.setNumThreads(os.cpu_count() or 1)
    described = machine.describe("tests.benchmarks.inference", words)
    described["versions"] |= {"onnxruntime": onnxruntime.__version__, "opencv": cv2.__version__}
    found: dict[str, Any] = {}
    for name in names:
        say(name)
        config = configuration.load(str(CONFIGS / f"{name}.py"))
        with tempfile.TemporaryDirectory() as folder:
            model = load(bundles.write_config(Path(folder) / "bundle", config))
            found[name] = _measure(name, model, Path(folder), options)
        if options.output:  # the largest networks take minutes: keep the results so far
            files.write_json(options.output, {"machine": described, "models": found})
    print(_table(found, described))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.inference",
        description=(__doc__ or "").splitlines()[0],
        allow_abbrev=False,
    )
    parser.add_argument("--configs", default=_DEFAULT, metavar="A,B", help=f"default: {_DEFAULT}")
    parser.add_argument("--turns", type=int, default=3, help="turns of each runtime (default: 3)")
    parser.add_argument("--torch_python", default="", help="a Python with torch and torchvision")
    parser.add_argument(
        "--least", type=float, default=1.0, metavar="SECONDS", help="minimum duration of a turn"
    )
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="JSON file of all figures")
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(words)
    return command_line.run("tests.benchmarks.inference", lambda: _run(options, words))


if __name__ == "__main__":
    memory.keep_freed()  # as ageflax.predict does
    sys.exit(main())
