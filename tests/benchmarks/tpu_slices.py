"""Compiles the training and evaluation steps of every trunk for Cloud TPU slices, without a TPU.

    python -m tests.benchmarks.tpu_slices --output=FILE.json [--trunks=levi,vit] [--topologies=v5e:2x4]

Needs the extra `tpu`, and minutes per row. Rows already in FILE are not compiled again, so the same command
resumes an interrupted run. README.md explains the columns.
"""

import argparse
import contextlib
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ageflax import config as configuration
from ageflax.compile_for import chips, report
from ageflax.errors import InputError
from ageflax.runtime import command_line, files
from ageflax.runtime.progress import say
from tests.benchmarks.options import CONFIGS
from tests.support.plain_layers import plain_layers

# (recipe, faces per chip). All layers train, in bfloat16.
TRUNKS = {
    "levi": ("levi", 256),
    "resnet34": ("resnet34", 128),
    "vgg16": ("vgg16_dex", 64),
    "vit": ("vit", 64),
}
TOPOLOGIES = ("v5e:2x4", "v5e:16x16", "v5p:4x4x4", "v6e:4x4")
# Evaluation exchanges only its probabilities, so one slice stands for all.
_EVALUATED = "v5e:2x4"
_WHOLE = (
    "--config.model.dtype=bfloat16",
    "--config.transfer.weights=",
    "--config.transfer.frozen=()",
    "--config.transfer.unfreeze=()",
)

Row = dict[str, Any]


def _compile(trunk: str, topology: str, step: str, *, largest: bool, plain: bool) -> list[Row]:
    name, per_chip = TRUNKS[trunk]
    where = chips.parse(topology)
    config = configuration.load(str(CONFIGS / f"{name}.py"), _WHOLE)
    config = report.with_batch(config, per_chip, where.size)
    with plain_layers() if plain else contextlib.nullcontext():
        rows = report.on_slice(config, where, [step], largest=largest, faces=1)
    return [{"trunk": trunk, "plain": plain, **row} for row in rows]


def _exchanged(row: Row) -> str:
    kinds: dict[str, list[int]] = {}
    for collective in row["collectives"]:
        kinds.setdefault(collective["kind"], []).append(collective["bytes"])
    return ", ".join(f"{len(b)} {kind}, {sum(b) / 1e6:.3g} MB" for kind, b in kinds.items())


def markdown(rows: Sequence[Row]) -> str:
    """Table of the compiled rows."""
    title = (
        "| trunk | slice | step | faces a chip | memory, GB | temporaries, GB | GFLOP an image |"
        " MB touched an image | million cycles | exchange a step | images/s at most | efficiency, % |"
    )
    lines = [title, "|" + " --- |" * 3 + " --: |" * 6 + " --- |" + " --: |" * 2]
    for row in rows:
        if "bound" not in row:
            continue
        cells = [
            row["trunk"] + (", plain layers" if row["plain"] else ""),
            row["topology"],
            row["step"],
            row["images"],
            f"{row['memory'] / 1e9:.2f}",
            f"{row['temporaries'] / 1e9:.2f}",
            f"{row['flops'] / row['images'] / 1e9:.2f}",
            f"{row['bytes'] / row['images'] / 1e6:.1f}",
            f"{row['cycles'] / 1e6:.1f}",
            _exchanged(row),
            f"{row['bound']['images_per_second']:,.0f}",
            f"{100 * row['bound']['efficiency']:.1f}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _known(words: str, known: Sequence[str], flag: str) -> list[str]:
    for word in words.split(","):
        if word not in known:
            raise InputError(f"--{flag}={word}: there are {', '.join(known)}")
    return words.split(",")


def _run(known: argparse.Namespace) -> None:
    trunks = _known(known.trunks, tuple(TRUNKS), "trunks")
    for topology in known.topologies.split(","):
        chips.parse(topology)
    steps = _known(known.steps, ("train", "evaluate"), "steps")
    rows: list[Row] = files.read_json(known.output) or []
    for step, topology, trunk in itertools.product(steps, known.topologies.split(","), trunks):
        if step == "evaluate" and topology != _EVALUATED:
            continue
        asked = {"trunk": trunk, "topology": topology, "step": step, "plain": known.plain}
        if any(all(row[key] == value for key, value in asked.items()) for row in rows):
            say(f"{trunk} {topology} {step}: in {known.output} already")
            continue
        largest = known.largest and (topology, step) == (_EVALUATED, "train")
        rows += _compile(trunk, topology, step, largest=largest, plain=known.plain)
        files.write_json(known.output, rows)
    print(markdown(rows))
    faults = [f"{r['trunk']} {r['topology']} {r['step']}: {f}" for r in rows for f in r["faults"]]
    print("\n".join(faults) or "no faults")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tpu_slices")
    parser.add_argument("--output", metavar="FILE.json", type=Path, required=True)
    parser.add_argument("--trunks", metavar="NAME,..", default=",".join(TRUNKS))
    parser.add_argument("--topologies", metavar="NAME,..", default=",".join(TOPOLOGIES))
    parser.add_argument("--steps", metavar="STEP,..", default="train,evaluate")
    parser.add_argument(
        "--largest", action="store_true", help=f"also search the largest batch, on {_EVALUATED}"
    )
    parser.add_argument(
        "--plain", action="store_true", help="layers as in their formulas, for comparison"
    )
    return command_line.run("tpu_slices", lambda: _run(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
