"""What a fold's figures depend on, as one hash: code, config, data and the weights it starts from.

A finished fold is found again by it, and a change of any of these is another folder. Versions of
installed packages and the device are not in it; config.json of a run records them.
"""

import ast
import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from ageflax import config as configuration
from ageflax.config import Config

ROOT = Path(__file__).parents[2]

# Training and testing a fold is this module and whatever it imports; the builders stand beside it.
_TRAINING = "ageflax.training.cross_validation"


def _file(module: str) -> Path | None:
    """The file of a module of this project; None for anybody else's."""
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


@functools.lru_cache(maxsize=1024)
def _imported(content: bytes, package: str) -> frozenset[str]:
    """Modules that a file imports anywhere, at its top or late; `from a import b` may mean a.b.

    Args:
      content: of the file.
      package: that it is in, for relative imports.
    """
    found = set()
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    # Importing a.b.c runs a and a.b.
    return frozenset(
        ".".join(name.split(".")[:n]) for name in found for n in range(1, name.count(".") + 2)
    )


def sources(dataset: str) -> list[Path]:
    """The files that a run on a dataset depends on, sorted.

    A change to the report, the web page or the exporter is not among them: it changes no figure.

    Args:
      dataset: builder[/config].
    """
    builder = dataset.partition("/")[0]
    remaining = {_TRAINING, f"tfds_builders.{builder}.{builder}_dataset_builder"}
    found: dict[str, Path] = {}
    while remaining:
        module = remaining.pop()
        path = _file(module)
        if path is None or module in found:
            continue
        found[module] = path
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        remaining |= _imported(path.read_bytes(), package)
    return sorted(set(found.values()))


def digest(parts: Iterable[bytes]) -> str:
    """sha256 of byte strings, each with its length, so that no two lists run into the same bytes."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big"))
        total.update(part)
    return total.hexdigest()


def of_code(dataset: str) -> str:
    """Of the files in `sources`, by path and content."""
    return digest(
        part
        for path in sources(dataset)
        for part in (path.relative_to(ROOT).as_posix().encode(), path.read_bytes())
    )


def of_config(config: Config) -> str:
    """Of a resolved config, in whatever order; keys that only say where and which folds are left out.

    The weights' place is left out too: `of_weights` has what they are.
    """
    left_out = {*configuration.CONTINUABLE, "transfer.weights"}
    values = {key: value for key, value in configuration.flatten(config) if key not in left_out}
    return digest([json.dumps(values, sort_keys=True).encode()])


def of_weights(weights: str) -> str:
    """Of what training starts from: the files' content where they lie on this disk, else their name."""
    path = Path(weights).expanduser() if weights else None
    if path is None or not path.exists():
        return digest([weights.encode()])
    files = [path] if path.is_file() else sorted(path.rglob("*.safetensors"))
    return digest(part for file in files for part in (file.name.encode(), file.read_bytes()))


def of_run(config: Config, *, data: str, weights: str) -> str:
    """Of a run.

    Args:
      config: resolved.
      data: fingerprint of the dataset, as result.json has it.
      weights: what it starts from, as `of_weights` gives it.
    """
    parts = (of_code(config.data.name), of_config(config), data, weights)
    return digest(part.encode() for part in parts)
