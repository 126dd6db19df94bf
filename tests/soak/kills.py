"""Kills a run at random moments, for every placement, and compares its results with an undisturbed run's.

    python -m tests.soak.kills --kills=50 --workdir=DIR

Each placement trains one small fold undisturbed, and again with its share of the kills: the signals in turn
(--signals=SIGKILL for one alone), each at a random moment between a process's start and its expected end.
Predictions and weights of both must be equal to the byte; then the exit code is 0.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_CONFIG = """
from ml_collections import ConfigDict


def get_config():
    config = ConfigDict()
    config.steps = 120
    config.task = "joint"
    config.data = ConfigDict(
        {"name": "synthetic_faces/people_80_photos_2_size_32_seed_0", "resize": 32, "crop": 27,
         "batch_size": 16})
    config.model = ConfigDict({"width": 0.05, "norm": "batch", "initialization": "matched"})
    config.optim = ConfigDict({"learning_rate": 1e-4, "ema": 0.9})
    config.loss = ConfigDict({"balance": "uncertainty"})
    config.eval = ConfigDict({"every": 20, "log_every": 10, "batch_size": 16})
    return config
"""
_PLACEMENTS = {
    "host": ["--config.data.placement=host"],
    "device": ["--config.data.placement=device", "--config.data.dispatch=5"],
    "stream": ["--config.data.placement=stream", "--config.data.workers=1"],
}
_SAME = ("predictions.csv", "bundle/model.safetensors")


def _start(workdir: Path, placement: str) -> "subprocess.Popen[str]":
    root = workdir.parent
    return subprocess.Popen(
        [sys.executable, "-m", "ageflax.main", f"--config={root / 'small.py'}", "--config.fold=0",
         f"--config.data.dir={root / 'datasets'}", f"--workdir={workdir}", *_PLACEMENTS[placement]],
        stdout=subprocess.DEVNULL, stderr=(root / "errors").open("w"), text=True,
        env=os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(root / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
    )  # fmt: skip


def _finish(workdir: Path, placement: str) -> float:
    """Runs to the end; returns the seconds."""
    started = time.monotonic()
    process = _start(workdir, placement)
    if process.wait():
        errors = (workdir.parent / "errors").read_text()
        raise SystemExit(f"{workdir}: exit code {process.returncode}\n{errors}")
    return time.monotonic() - started


def _kill(workdir: Path, placement: str, number: int, after: float) -> dict[str, object]:
    """Starts a run and kills it; returns observations."""
    process = _start(workdir, placement)
    try:
        process.wait(timeout=after)
        return {"after": round(after, 2), "ended": "before the kill", "code": process.returncode}
    except subprocess.TimeoutExpired:
        pass
    asked = time.monotonic()
    process.send_signal(number)
    process.wait()  # not the end of its stderr, which a worker may hold a moment longer
    errors = (workdir.parent / "errors").read_text()
    seen: dict[str, object] = {
        "signal": signal.Signals(number).name,
        "after": round(after, 2),
        "code": process.returncode,
        "left_after": round(time.monotonic() - asked, 2),
        "said": [line for line in errors.splitlines() if line.startswith("fold 0")][-1:],
    }
    if "Traceback" in errors and number == signal.SIGTERM:
        seen["traceback"] = errors[-2000:]
    return seen


def _placement(
    root: Path, placement: str, kills: int, signals: Sequence[signal.Signals], drawn: random.Random
) -> dict[str, object]:
    straight, killed = root / f"straight-{placement}", root / f"killed-{placement}"
    _finish(straight, placement)  # compiles, for all later runs
    shutil.rmtree(straight)
    seconds, seen = _finish(straight, placement), []
    for number in range(kills):
        kind = signals[number % len(signals)]
        seen.append(_kill(killed, placement, kind, drawn.uniform(0, seconds)))
        # A fold that finished before all its kills is compared, and started anew.
        if (killed / "fold_0" / "result.json").exists() and number < kills - 1:
            _compare(straight, killed)
            killed.rename(killed.with_name(f"{killed.name}-{number}"))
        print(placement, number, json.dumps(seen[-1]), flush=True)
    _finish(killed, placement)
    _compare(straight, killed)
    return {"placement": placement, "kills": seen}


def _compare(straight: Path, killed: Path) -> None:
    for name in _SAME:
        one, other = ((folder / "fold_0" / name).read_bytes() for folder in (straight, killed))
        if one != other:
            raise SystemExit(f"{killed}: {name} differs from that of the run that was not killed")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workdir", type=Path, required=True, help="an empty or absent folder")
    parser.add_argument(
        "--placements", default=",".join(_PLACEMENTS), help="placements to run (all)"
    )
    parser.add_argument("--signals", default="SIGKILL,SIGTERM", help="signals to send in turn")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    words.workdir.mkdir(parents=True, exist_ok=True)
    (words.workdir / "small.py").write_text(_CONFIG)
    drawn = random.Random(words.seed)
    placements = words.placements.split(",")
    signals = [signal.Signals[name] for name in words.signals.split(",")]
    each, found = -(-words.kills // len(placements)), []
    for placement in placements:
        found.append(_placement(words.workdir, placement, each, signals, drawn))
        (words.workdir / "kills.json").write_text(json.dumps(found, indent=2) + "\n")
    kills = [kill for part in found for kill in part["kills"]]
    untidy = [kill for kill in kills if "traceback" in kill]
    slow = [kill for kill in kills if float(str(kill.get("left_after", 0))) > 30]
    print(f"{len(kills)} kills, every run ended with the same predictions and weights;"
          f" {len(untidy)} tracebacks upon SIGTERM, {len(slow)} took more than 30 seconds")  # fmt: skip
    return 1 if untidy or slow else 0


if __name__ == "__main__":
    sys.exit(main())
