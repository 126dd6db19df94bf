"""Writes the tested versions into constraints.txt and, as upper bounds, into pyproject.toml.

    python .ci/constraints.py          from uv.lock, as the last `uv run` resolved it
    python .ci/constraints.py --renew  from the newest versions
    python .ci/constraints.py --check  exit code 1 if uv.lock has other versions

Bounds and not pins, since the tfds extra is held back further by Apache Beam. Needs uv.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADER = """\
# Versions that passed .ci/run: pip install -c constraints.txt -e .
# Written by .ci/constraints.py; not for the tfds extra, whose Apache Beam wants older ones.
"""
LIST = re.compile(r"(?<=^constraint-dependencies = \[\n).*?(?=^\]$)", re.MULTILINE | re.DOTALL)
PARTS = [f"--extra={name}" for name in ("onnx", "demo", "pretrained", "ray")]
PARTS += ["--group=test", "--group=lint"]


def locked(folder: Path) -> list[str]:
    """Versions in a folder's uv.lock, with the Pythons of those that differ by Python."""
    words = ["uv", "export", "--quiet", "--frozen", "--no-hashes", "--no-header", "--no-annotate"]
    done = subprocess.run(
        [*words, "--no-emit-project", *PARTS],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line.partition(" ; ")[::2] for line in done.stdout.splitlines()]
    names = [pin.partition("==")[0] for pin, _ in lines]
    kept = []
    for (pin, marker), name in zip(lines, names, strict=True):
        pythons = re.findall(r"python_full_version [<>=!]+ '[\d.*]+'", marker)
        several = names.count(name) > 1 and pythons
        kept.append(f"{pin} ; {' and '.join(pythons)}" if several else pin)
    return kept


def pinned(text: str) -> list[str]:
    """Lines of a constraints file."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def bounds(pins: list[str]) -> str:
    """The entries of pyproject.toml's list."""
    return "".join(f'  "{pin.replace("==", "<=", 1)}",\n' for pin in pins)


def renew(text: str) -> list[str]:
    """The newest versions that a pyproject.toml allows."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pyproject.toml").write_text(LIST.sub("", text, count=1))
        subprocess.run(["uv", "lock", "--quiet"], cwd=folder, check=True)
        return locked(Path(folder))


def main() -> int:
    """Entry point; returns the exit code."""
    project, constraints = ROOT / "pyproject.toml", ROOT / "constraints.txt"
    text = project.read_text()
    pins = renew(text) if "--renew" in sys.argv else locked(ROOT)
    if "--check" in sys.argv:
        different = set(pins) ^ set(pinned(constraints.read_text()))
        print(
            *(f"constraints.txt: {line}: not as resolved" for line in sorted(different)), sep="\n"
        )
        return bool(different)
    constraints.write_text(HEADER + "".join(f"{pin}\n" for pin in pins))
    project.write_text(LIST.sub(lambda _: bounds(pins), text, count=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
