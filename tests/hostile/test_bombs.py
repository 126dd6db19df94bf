"""Decompression bombs are refused with a message, in bounded memory."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.hostile import guard, trial
from tests.hostile.bombs import BOMBS
from tests.hostile.kinds import KINDS

# Beyond the process's initial memory. A picture of 64 megapixels takes 200 MB in NumPy, 256 in Pillow.
_MEGABYTES, _OF_PICTURES = 100, 900


def _read_all(folder: Path) -> dict[str, list[object]]:
    """The message and CPU seconds of each bomb, from a process with bounded memory."""
    from ageflax.data.building import archives
    from tests.hostile.__main__ import limit_memory

    cases, found = {}, {}
    for kind in {kind for kind, _, _ in BOMBS.values()}:
        inside = folder / kind / "folder"
        inside.mkdir(parents=True)
        cases[kind] = KINDS[kind](inside), inside
        cases[kind][0].read(cases[kind][0].seeds[0])  # imports the reader
    archives._FREE = 32 << 20  # allows smaller bombs
    files = {name: make() for name, (_, make, _) in BOMBS.items()}
    for name, (kind, _, _) in BOMBS.items():
        limit_memory(_OF_PICTURES if kind == "photographs" else _MEGABYTES)
        started = time.process_time()
        try:
            said = trial.attempt(cases[kind][0], files[name], cases[kind][1])
        except trial.Fault as fault:
            said = f"FAULT {fault}"
        found[name] = [said, round(time.process_time() - started, 2)]
    return found


def test_bombs_are_refused_in_a_message_and_in_bounded_memory(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "tests.hostile.test_bombs", tmp_path],
        capture_output=True, text=True, check=False, cwd=guard.ROOT, timeout=300,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    wrong = {
        name: found[name]
        for name, (_, _, expected) in BOMBS.items()
        if (expected or "!") not in (found[name][0] or "!")
    }
    assert not wrong


if __name__ == "__main__":
    print(json.dumps(_read_all(Path(sys.argv[1]))))
