"""Two exports of one bundle are the same bytes, in processes that hash strings differently."""

import os
import subprocess
import sys
from pathlib import Path

from ageflax.bundle import load
from ageflax.export import small_bundle, write

ROOT = Path(__file__).parents[2]
PRECISIONS = ("float32", "float16", "int8")


def export_all(bundle, folder):
    """Exports a bundle in every format and precision."""
    model = load(bundle)
    for precision in PRECISIONS:
        for suffix in (".onnx", ".stablehlo"):
            write.export(model, folder / f"{precision}{suffix}", precision=precision)
        small_bundle.export(model, folder / precision, precision=precision)


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_every_format_and_precision_is_written_the_same_twice(joint, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    words = ["-m", "tests.export.test_same_bytes", str(joint), str(there)]
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "12345"}
    ) as other:
        export_all(joint, here)
    assert other.returncode == 0
    first, second = contents(here), contents(there)
    assert len(first) == len(PRECISIONS) * (1 + 2 + 4)  # .onnx, .stablehlo and its JSON, a bundle
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    # Nor do they say where this was done.
    assert [name for name in first if str(ROOT).encode() in first[name]] == []


if __name__ == "__main__":
    export_all(*map(Path, sys.argv[1:]))
