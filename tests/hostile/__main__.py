"""Fuzzes every reader of untrusted files.

    python -m tests.hostile --minutes=30 --output=DIR [--kinds=tar,torch_zip] [--seed=1]
    python -m tests.hostile --replay=DIR/KIND-0123456789.input

Each kind gets its share of the time, in its own process with bounded memory and bounded seconds per input. A
fault is any outcome but a file read or a proper message: another exception, a crash, a hang, too much
memory, access outside the folder, code of the input run. Its input is kept in DIR. Exit code 1 if there are
faults.
"""

import argparse
import faulthandler
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.hostile import guard, trial
from tests.hostile.kinds import KINDS

# Limits of an input: CPU seconds, seconds by the clock (for busy machines), megabytes.
_SECONDS, _BY_THE_CLOCK, _MEGABYTES = 30.0, 300.0, 2000


def limit_memory(megabytes: int) -> None:
    """Limits memory to the present use and `megabytes` more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + megabytes * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _limit_time(seconds: float, by_the_clock: float) -> None:
    """Ends the process after `seconds` of CPU time (SIGPROF), or of waiting `by_the_clock`."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    faulthandler.dump_traceback_later(by_the_clock, exit=True)


def _keep(output: Path, kind: str, content: bytes, said: str) -> Path:
    path = output / f"{kind}-{hashlib.sha256(content).hexdigest()[:10]}.input"
    path.write_bytes(content)
    path.with_suffix(".txt").write_text(said + "\n", errors="backslashreplace")
    return path


def _child(kind: str, seed: int, seconds: float, output: Path) -> None:
    """Tries inputs until time is up; writes its counts to a file, since the process may die."""
    faults: set[str] = set()
    with guard.new_folder() as temporary:
        folder = Path(temporary) / "folder"
        folder.mkdir()
        case = KINDS[kind](folder)
        trial.check_seeds(case, folder)
        keep = set(folder.iterdir())
        limit_memory(_MEGABYTES)
        rng, until = random.Random(f"{kind} {seed}"), time.monotonic() + seconds
        tried = refused = 0
        current, told = output / f"{kind}.current", output / f"{kind}.told"
        while time.monotonic() < until:
            content = trial.inputs_of(rng, case)
            current.write_bytes(content)
            _limit_time(_SECONDS, _BY_THE_CLOCK)
            try:
                refused += bool(trial.attempt(case, content, folder))
            except trial.Fault as fault:
                where = str(fault).partition(": ")[0] + type(fault.__cause__).__name__
                if where not in faults:
                    faults.add(where)
                    print(
                        f"{_keep(output, kind, content, str(fault))}: {str(fault)[:500]}",
                        flush=True,
                    )
            tried += 1
            if tried % 20 == 0 or time.monotonic() >= until:
                told.write_text(json.dumps([tried, refused, len(faults)]))
                trial.emptied(folder, keep)
        _limit_time(0.0, _BY_THE_CLOCK)
    current.unlink(missing_ok=True)


def _kind(kind: str, seed: int, seconds: float, output: Path) -> list[int]:
    """[inputs, refused inputs, faults] of one kind, over as many processes as needed."""
    total, until, number = [0, 0, 0], time.monotonic() + seconds, 0
    while (left := until - time.monotonic()) > 0.1 * seconds or not number:
        told = output / f"{kind}.told"
        told.write_text("[0, 0, 0]")
        words = ["--child", f"--kinds={kind}", f"--seed={1000 * seed + number}"]
        died = subprocess.run(
            [sys.executable, "-m", "tests.hostile", *words, f"--minutes={left / 60}",
             f"--output={output}"],
            stderr=subprocess.PIPE, text=True, errors="replace", check=False,
            env={"JAX_PLATFORMS": "cpu", "PYTHONFAULTHANDLER": "1"} | os.environ,
        )  # fmt: skip
        total = [a + b for a, b in zip(total, json.loads(told.read_text()), strict=True)]
        told.unlink()
        current = output / f"{kind}.current"
        if died.returncode and current.exists():
            said = f"the process died, exit code {died.returncode}\n{died.stderr[-4000:]}"
            kept = _keep(output, kind, current.read_bytes(), said)
            print(f"{kept}: {said.splitlines()[0]}", flush=True)
            total[2] += 1
            current.unlink()
        elif died.returncode:
            raise SystemExit(f"{kind}: could not begin\n{died.stderr[-4000:]}")
        number += 1
    return total


def _replay(path: Path) -> int:
    kind = path.name.rpartition("-")[0]
    with guard.new_folder() as temporary:
        folder = Path(temporary) / "folder"
        folder.mkdir()
        case = KINDS[kind](folder)
        trial.check_seeds(case, folder)
        limit_memory(_MEGABYTES)
        _limit_time(_SECONDS, _BY_THE_CLOCK)
        print("read, or refused:", trial.attempt(case, path.read_bytes(), folder) or "read")
    return 0


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--minutes", type=float, default=10.0, help="time for all kinds together")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds to try (all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="folder for inputs that cause faults")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="input to try again")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.replay:
        return _replay(words.replay)
    if not words.output:
        parser.error("--output=DIR is needed")
    kinds = words.kinds.split(",")
    if words.child:
        _child(kinds[0], words.seed, 60 * words.minutes, words.output)
        return 0
    words.output.mkdir(parents=True, exist_ok=True)
    found = {}
    for kind in kinds:
        found[kind] = _kind(kind, words.seed, 60 * words.minutes / len(kinds), words.output)
        print("{}: {:,} inputs, {:,} refused, {} faults".format(kind, *found[kind]), flush=True)
    (words.output / "tried.json").write_text(json.dumps(found, indent=2) + "\n")
    inputs, _, faults = (sum(column) for column in zip(*found.values(), strict=True))
    print(f"{inputs:,} inputs of {len(found)} kinds, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
