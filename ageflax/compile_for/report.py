"""Compiles a config's steps for topologies, checks and reports them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from jax.sharding import Mesh

from ageflax import config as configuration
from ageflax.compile_for import chips, findings, hlo
from ageflax.compile_for.chips import Slice
from ageflax.compile_for.roofline import Bound, bound, scaling
from ageflax.compile_for.steps_of import STEPS, Compiled, StepCompiler, lowering_mesh, topology_mesh
from ageflax.config import Config
from ageflax.errors import InputError, RunError
from ageflax.runtime import files
from ageflax.runtime.files import Json
from ageflax.runtime.progress import say

# Largest batch to try: beyond it, images alone would fill the memory.
_LARGEST = 16_384


def with_batch(config: Config, per_chip: int, chips: int) -> Config:
    """The config with this many faces per chip, in training and evaluation."""
    count = per_chip * chips
    return configuration.replaced(config, **{"data.batch_size": count, "eval.batch_size": count})


def _check(topologies: Sequence[str], steps: Sequence[str], output: Path | None) -> None:
    """Raises InputError for anything wrong that is known before compiling."""
    for name in topologies:
        if name != "cuda":
            chips.parse(name)
    for step in steps:
        if step not in STEPS:
            raise InputError(f"--steps={step}: expected steps of {', '.join(STEPS)}")
    if output is not None and not output.parent.is_dir():
        raise InputError(f"--output={output}: no folder {output.parent}; create it first")


def _exchanged(collectives: Sequence[hlo.Collective]) -> str:
    """Exchanges by kind, such as "2 all-reduce, 22.9 MB (bf16, f32)"."""
    lines = []
    for kind in sorted({c.kind for c in collectives}):
        same = [c for c in collectives if c.kind == kind]
        dtypes = ", ".join(sorted({dtype for c in same for dtype in c.dtypes}))
        lines.append(f"{len(same)} {kind}, {sum(c.bytes for c in same) / 1e6:,.3g} MB ({dtypes})")
    return "; ".join(lines) or "none"


def _bound_line(limit: Bound) -> str:
    bound_by = "operations" if limit.compute >= limit.memory else "bytes"
    return (
        f"at most {limit.images_per_second:,.0f} images/s on {limit.chips} chips: a step's operations"
        f" take {1e3 * limit.compute:.2f} ms, its bytes {1e3 * limit.memory:.2f}, its exchange"
        f" {1e3 * limit.exchange:.2f}; bound by {bound_by}, efficiency {100 * limit.efficiency:.1f} %"
    )


def _tell(compiled: Compiled, where: Slice) -> None:
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(compiled.products.items()))
    say(
        f"{where.name} {compiled.step}: {compiled.images} faces per chip, {compiled.dtype}; compiled in"
        f" {compiled.seconds:.0f} s"
    )
    say(
        f"  memory    {compiled.memory / 1e9:.2f} of {where.chip.memory / 1e9:.0f} GB per chip: state"
        f" and batch {compiled.arguments / 1e9:.2f}, temporaries {compiled.temporaries / 1e9:.2f}"
    )
    say(
        f"  work      {compiled.flops / 1e9 / compiled.images:.2f} GFLOP and"
        f" {compiled.bytes / 1e6 / compiled.images:.1f} MB touched per image;"
        f" {100 * compiled.padding:.0f} % padding; {compiled.cycles / 1e6:.1f} million cycles expected"
    )
    say(f"  products  {kinds or 'none'}")
    say(f"  exchange  {_exchanged(compiled.collectives)}")
    if compiled.step == "resident":
        # The compiler counts a loop's body once, and this program is a loop of steps.
        return
    say(f"  roofline  {_bound_line(bound(compiled, where))}")
    if compiled.step == "train":
        bounds = scaling(compiled, where)
        shares = ", ".join(f"{b.chips}: {100 * b.efficiency:.1f}" for b in bounds)
        say(f"  scaling   efficiency in % by chips: {shares}")


def record(compiled: Compiled, where: Slice) -> Json:
    """A compiled step's record in the JSON output."""
    found = dataclasses.asdict(compiled) | {"topology": where.name, "memory": compiled.memory}
    found["faults"] = findings.faults(compiled)
    if compiled.step != "resident":
        found["bound"] = dataclasses.asdict(bound(compiled, where))
        found["scaling"] = [dataclasses.asdict(b) for b in scaling(compiled, where)]
    return found


def _largest(config: Config, where: Slice, mesh: Mesh, trained: Compiled | None) -> int:
    """The largest power of two of faces per chip whose training step fits.

    Args:
      config: resolved config.
      where: slice to compile for.
      mesh: the slice's chips.
      trained: a training step that fits, if known.
    """

    def fits(size: int) -> bool:
        compiler = StepCompiler(with_batch(config, size, where.size), mesh)
        found = compiler.compile("train", faces=0) is not None
        say(f"{where.name} train: {size} faces per chip {'fit' if found else 'do not fit'}")
        return found

    start = 64
    if trained is not None:
        start = findings.likely_largest(
            trained.images,
            trained.temporaries,
            trained.arguments + trained.code,
            where.chip.memory,
        )
    return findings.largest_batch(fits, min(start, _LARGEST), most=_LARGEST)


def on_slice(
    config: Config, where: Slice, steps: Sequence[str], *, largest: bool, faces: int
) -> list[Json]:
    """Compiles a config's steps for a slice and reports each; returns their records.

    Args:
      config: resolved config, with the batch of the whole slice.
      where: slice to compile for.
      steps: names from STEPS.
      largest: True to search for the largest batch that trains.
      faces: number of resident faces.
    """
    mesh = topology_mesh(where)
    compiler, records, trained = StepCompiler(config, mesh), [], None
    for step in steps:
        compiled = compiler.compile(step, faces=faces)
        if compiled is None:
            fault = f"{compiler.images(step)} faces per chip do not fit its memory"
            say(f"{where.name} {step}: {fault}")
            records.append({"topology": where.name, "step": step, "faults": [fault]})
        else:
            _tell(compiled, where)
            records.append(record(compiled, where))
        if step == "train":
            trained = compiled
    if largest:
        size = _largest(config, where, mesh, trained)
        say(f"{where.name} train: largest batch per chip, of powers of two: {size}")
        records.append({"topology": where.name, "step": "largest", "images": size, "faults": []})
    return records


def _on_cuda(config: Config, steps: Sequence[str], faces: int) -> list[Json]:
    """Lowers a config's steps for a GPU; returns their records."""
    compiler, records = StepCompiler(config, lowering_mesh()), []
    for step in steps:
        text = compiler.lower(step, platform="cuda", faces=faces)
        products, calls = hlo.products(text), hlo.host_calls(text)
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(products.items()))
        say(f"cuda {step}: lowered, not compiled; products {kinds}")
        faults = [f"{call}: the step waits for the host" for call in calls]
        faults += findings.float32_products(products, config.model.dtype)
        records.append({"topology": "cuda", "step": step, "products": products, "faults": faults})
    return records


def run(
    config: Config,
    *,
    topologies: Sequence[str],
    steps: Sequence[str],
    per_chip: int | None,
    largest: bool,
    faces: int,
    output: Path | None,
) -> None:
    """Compiles a config's steps for each topology, reports them and writes their records.

    Args:
      config: resolved config.
      topologies: names of slices, or "cuda".
      steps: names from STEPS.
      per_chip: faces per chip in a batch; None takes the config's batches.
      largest: True to search for the largest batch that trains.
      faces: number of resident faces.
      output: JSON file for the records.

    Raises:
      InputError: unknown topology or step, or the batch does not divide over the chips.
      RunError: a step has faults.
    """
    _check(topologies, steps, output)
    records = []
    for name in topologies:
        where = None if name == "cuda" else chips.parse(name)
        asked = with_batch(config, per_chip, where.size if where else 1) if per_chip else config
        if where is None:
            records += _on_cuda(asked, steps, faces)
        else:
            records += on_slice(asked, where, steps, largest=largest, faces=faces)
        if output is not None:
            files.write_json(output, records)
    faults = [f"{r['topology']} {r['step']}: {fault}" for r in records for fault in r["faults"]]
    if faults:
        raise RunError("; ".join(faults))
