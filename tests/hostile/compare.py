"""Compares the mutators here with atheris and with hypothesis: lines of the readers that equal time reaches.

    uv run --group test --with atheris --with coverage python -m tests.hostile.compare --seconds=8

Each way gets the same good files and CPU time, in a process of its own; its inputs are then read again under
coverage. atheris is guided by the coverage of what it has tried; hypothesis edits the good files at random.
"""

import argparse
import importlib
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile import guard, mutate, trial
from tests.hostile.kinds import KINDS, Case

_READERS = ("ageflax", "tfds_builders")
_BETWEEN = 20  # inputs between two cleanings of the folder


def _by_mutators(case: Case, kind: str, attempt: Callable[[bytes], None]) -> None:
    rng = random.Random(f"{kind} 5")
    while True:
        attempt(trial.inputs_of(rng, case))


def _by_hypothesis(case: Case, kind: str, attempt: Callable[[bytes], None]) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    tokens = st.sampled_from(mutate.TOKENS + mutate.NUMBERS)
    edits = st.tuples(st.floats(0, 1), st.integers(0, 64), st.one_of(st.binary(max_size=8), tokens))

    @settings(
        database=None, deadline=None, max_examples=10**9, phases=(Phase.generate,),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(
        st.sampled_from(case.seeds),
        st.lists(edits, min_size=1, max_size=4),
        st.one_of(st.none(), st.floats(0, 1)),
    )
    def edited(content: bytes, changes: list[tuple[float, int, bytes]], cut: float | None) -> None:
        for share, size, new in changes:
            place = int(share * len(content))
            content = content[:place] + new + content[place + size :]
        attempt(content if cut is None else content[: int(cut * len(content))])

    edited()


def _by_atheris(case: Case, kind: str, attempt: Callable[[bytes], None]) -> None:
    atheris = importlib.import_module("atheris")
    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate([*case.seeds, *case.hostile[:40]]):
            (Path(corpus) / str(number)).write_bytes(content)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        words = ["-len_control=0", "-rss_limit_mb=0", "-timeout=300", "-seed=5"]
        atheris.Setup(["compare", corpus, f"-max_len={mutate.MOST}", *words], attempt)
        atheris.Fuzz()


_WAYS = {"mutators": _by_mutators, "atheris": _by_atheris, "hypothesis": _by_hypothesis}


def _try(way: str, kind: str, seconds: float, inputs: Path) -> None:
    """Tries inputs until the CPU time is up, and keeps them; ends the process, for libFuzzer never returns."""
    if way == "atheris":
        atheris = importlib.import_module("atheris")
        atheris.instrument_imports(include=list(_READERS)).__enter__()
    with guard.new_folder() as temporary, inputs.open("wb") as file:
        folder = Path(temporary) / "folder"
        folder.mkdir()
        case = KINDS[kind](folder)
        trial.check_seeds(case, folder)
        keep, began = set(folder.iterdir()), time.process_time()
        count = 0

        def attempt(content: bytes) -> None:
            nonlocal count
            count += 1
            file.write(struct.pack("<I", len(content)) + content)
            trial.attempt(case, content, folder)
            if count % _BETWEEN == 0:
                trial.emptied(folder, keep)
            if time.process_time() - began > seconds:
                file.flush()
                os._exit(0)

        _WAYS[way](case, kind, attempt)


def _measure(kind: str, inputs: Path) -> str:
    """Counts inputs, lines and branches of the readers, and places that refuse; cells of a table."""
    watch = importlib.import_module("coverage").Coverage(
        source=[str(guard.ROOT / part) for part in _READERS], branch=True, data_file=None
    )
    places, count, file = set(), 0, inputs.open("rb")
    with guard.new_folder() as temporary, file:
        folder = Path(temporary) / "folder"
        folder.mkdir()
        case = KINDS[kind](folder)
        trial.check_seeds(case, folder)
        keep = set(folder.iterdir())
        watch.start()
        while header := file.read(4):
            count += 1
            try:
                case.read(file.read(struct.unpack("<I", header)[0]))
            except case.refusals as refusal:
                places.add(trial.place(refusal))
            if count % _BETWEEN == 0:
                trial.emptied(folder, keep)
        watch.stop()
    data: Any = watch.get_data()
    lines, branches = (
        sum(len(of(path) or ()) for path in data.measured_files()) for of in (data.lines, data.arcs)
    )
    return f"{count:,} | {lines} | {branches} | {len(places)}"


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=8.0, help="CPU time for each kind and way")
    parser.add_argument("--kinds", default="labels_csv,imdb_wiki_mat,safetensors,tar")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.child:
        what, kind, path = words.child
        if what == "measure":
            print(_measure(kind, Path(path)), flush=True)
            os._exit(0)
        _try(what, kind, words.seconds, Path(path))
    print("| kind | way | inputs | lines | branches | refusals |\n|---|---|--:|--:|--:|--:|")
    for kind in words.kinds.split(","):
        for way in _WAYS:
            with tempfile.TemporaryDirectory() as folder:
                child = [
                    sys.executable,
                    "-m",
                    "tests.hostile.compare",
                    f"--seconds={words.seconds}",
                ]
                path = f"{folder}/inputs"
                subprocess.run([*child, "--child", way, kind, path], check=True)
                measured = subprocess.run(
                    [*child, "--child", "measure", kind, path],
                    check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            print(f"| {kind} | {way} | {measured.stdout.strip()} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
