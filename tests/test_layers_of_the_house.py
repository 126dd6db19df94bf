"""A file imports only from folders below its own; siblings of one row of models never import each other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ageflax"

# Folders (and commands of one file), lowest first.
LAYERS = (
    {"errors", "labels", "arrays", "runtime"},
    {"config"},
    {"augment", "models", "losses", "metrics", "data"},
    {"weights"},
    {"bundle"},
    {"evaluation"},
    {"training"},
    {"report"},
    {"main", "evaluate", "compare", "wash", "predict", "export", "import_weights", "compile_for"},
    {"demo", "datasets", "__main__"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# Where networks, losses and figures meet is above them.
STRANGERS = LAYERS[2]


def imported(path: Path) -> set[str]:
    """Dotted names of this package that a file imports, at its top or late."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("ageflax.")}


def folders_of(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names} & set(LEVEL)


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for there in folders_of(imported(path)) - {here}:
        assert LEVEL[there] <= LEVEL[here], f"{here} imports {there}"
        assert not {here, there} <= STRANGERS, f"{here} imports {there}"


def test_the_top_of_the_package_is_small():
    assert {path.stem for path in PACKAGE.glob("*.py")} <= set(LEVEL) | {"__init__"}
    assert len([path for path in PACKAGE.glob("*.py") if path.name != "__main__.py"]) <= 8
    folders = [path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert {path.name for path in folders} <= set(LEVEL)
    assert len(folders) <= 18
    assert not [path for path in FILES if path.name.startswith("_") and path.name != "__main__.py"
                and path.name != "__init__.py"]  # fmt: skip


def test_ageflax_knows_no_workflows_and_only_the_engine_files_know_ray():
    for path in FILES:
        assert "pipelines" not in _packages(path), path
    knowing = {p.name for p in (ROOT / "pipelines").rglob("*.py") if "ray" in _packages(p)}
    assert knowing == {"node.py", "nodes.py"}


def _packages(path: Path) -> set[str]:
    """Top-level packages that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_configs_are_values_and_builders_need_no_jax():
    for path in (ROOT / "configs").glob("*.py"):
        assert not imported(path), path
    for path in (ROOT / "tfds_builders").rglob("*.py"):
        if not path.name.endswith("_test.py"):
            allowed = {"labels", "errors", "data", "runtime"}
            assert folders_of(imported(path)) <= allowed, path


def test_few_files_know_jit_one_knows_orbax_and_one_applies_networks_at_test():
    def containing(text: str) -> set[str]:
        return {str(p.relative_to(PACKAGE)) for p in FILES if text in p.read_text()}

    assert containing("import orbax") == {"training/checkpoints.py"}
    # What jax.export writes it wants jitted; the ViT's is a boundary within a step, and compiles nothing.
    assert containing("jax.jit") == {
        "training/step.py",
        "bundle/model.py",
        "data/batches.py",
        "export/stablehlo.py",
        "models/vit.py",
    }
    assert containing("network.apply(") == {"bundle/inference.py", "training/loss.py"}
