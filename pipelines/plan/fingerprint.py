"""Hashes everything that a fold's figures depend on: code, config, data and initial weights.

A finished fold is found by the fingerprint of its run; a change of any part means a new folder. Versions
of packages and the device are not included; config.json of a run records them.
"""

import ast
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ageflax
import tfds_builders as builders
from ageflax import config as configuration
from ageflax.config import Config

ROOT = Path(ageflax.__file__).parents[1]  # of a clone, or of the installed packages

# Training and testing a fold is this module and everything that it imports; a builder is loaded by name.
_TRAINING = "ageflax.training.cross_validation"
_OURS = frozenset({ageflax.__name__, builders.__name__.partition(".")[0]})


def _file(module: str) -> Path | None:
    """The file of one of this project's modules; None for any other module."""
    if module.partition(".")[0] not in _OURS:
        return None
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def _plain(node: Any) -> Any:
    """A syntax tree as JSON values, the same in every Python, without imports and docstrings.

    An expression that is a constant has no effect, so every such statement is left out.
    """
    if isinstance(node, list):
        return [
            _plain(item)
            for item in node
            if not isinstance(item, ast.Import | ast.ImportFrom)
            and not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
        ]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: _plain(value) for name, value in ast.iter_fields(node)}
    # Later Pythons add fields that are empty in today's code.
    return [type(node).__name__, {k: v for k, v in fields.items() if v not in ("None", [])}]


@dataclasses.dataclass(frozen=True)
class _Source:
    """A file of code.

    Attributes:
      code: hash of the syntax tree and of the names that imports give, not of where they come from.
      imports: module, name imported from it ("" for the module itself) and the name it gets.
    """

    code: str
    imports: frozenset[tuple[str, str, str]]


class _Running(ast.NodeTransformer):
    """Drops blocks under `if TYPE_CHECKING:`, which never run."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        """Returns the other branch of such a block."""
        return (
            node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)
        )


@functools.lru_cache(maxsize=1024)
def _read(content: bytes, package: str) -> _Source:
    """Parses a file of the given package; imports inside functions count too."""
    tree = _Running().visit(ast.parse(content))
    imports = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {(alias.name, "", alias.asname or alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            imports |= {(module, alias.name, alias.asname or alias.name) for alias in node.names}
    names = sorted(here for _, _, here in imports)
    return _Source(digest([json.dumps([_plain(tree), names]).encode()]), frozenset(imports))


def sources(dataset: str) -> dict[str, _Source]:
    """The modules that a run on a dataset depends on, by name.

    The report, the web page and the exporter are not among them: they change no figure.

    Args:
      dataset: builder[/config].
    """
    builder = dataset.partition("/")[0]
    remaining = {_TRAINING, f"{builders.__name__}.{builder}.{builder}_dataset_builder"}
    found: dict[str, _Source] = {}
    while remaining:
        module = remaining.pop()
        path = _file(module)
        if path is None or module in found:
            continue
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        found[module] = _read(path.read_bytes(), package)
        # `from a import b` may mean a.b, and importing a.b.c runs a and a.b.
        remaining |= {
            ".".join(name.split(".")[:n])
            for source, own, _ in found[module].imports
            for name in (f"{source}.{own}" if own else source,)
            for n in range(1, name.count(".") + 2)
        }
    return found


def digest(parts: Iterable[bytes]) -> str:
    """sha256 of byte strings, each with its length: no two lists give the same bytes."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big"))
        total.update(part)
    return total.hexdigest()


def of_code(dataset: str) -> str:
    """Hash of the code that a run on a dataset depends on.

    Comments, docstrings, formatting, the order of imports and the paths of files do not count: an
    imported module of this project counts by its code, not by its name.
    """
    found = sources(dataset)

    def line(module: str, name: str, here: str) -> str:
        if f"{module}.{name}" in found:  # a module imported from its package
            module, name = f"{module}.{name}", ""
        return f"{found[module].code if module in found else module} {name} {here}"

    # A set: one empty package more or less changes nothing.
    files = {
        "\n".join([source.code, *sorted(line(*names) for names in source.imports)])
        for source in found.values()
    }
    return digest(file.encode() for file in sorted(files))


def of_config(config: Config) -> str:
    """Hash of a resolved config in any order, without the keys that only say where and which folds.

    The weights' location is left out too: `of_weights` hashes their content.
    """
    left_out = {*configuration.CONTINUABLE, "transfer.weights"}
    values = {key: value for key, value in configuration.flatten(config) if key not in left_out}
    return digest([json.dumps(values, sort_keys=True).encode()])


def of_weights(weights: str) -> str:
    """Hash of initial weights: the files' content if they are on this disk, else the name."""
    path = Path(weights).expanduser() if weights else None
    if path is None or not path.exists():
        return digest([weights.encode()])
    files = [path] if path.is_file() else sorted(path.rglob("*.safetensors"))
    return digest(part for file in files for part in (file.name.encode(), file.read_bytes()))


def of_run(config: Config, *, data: str, weights: str) -> str:
    """Fingerprint of a run.

    Args:
      config: a resolved config.
      data: fingerprint of the dataset, as in result.json.
      weights: hash of the initial weights, from `of_weights`.
    """
    parts = (of_code(config.data.name), of_config(config), data, weights)
    return digest(part.encode() for part in parts)
