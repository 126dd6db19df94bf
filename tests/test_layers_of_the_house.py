"""A file imports only from lower layers; siblings of the first layer never import each other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ageflax"

# Name of a module or package directly under ageflax/ -> its layer.
LAYERS = {
    "errors": 0,
    "structs": 0,
    "labels": 0,
    "files": 0,
    "config": 0,
    "progress": 0,
    "metrics_log": 0,
    "preemption": 0,
    "lock": 0,
    "command": 0,
    "table": 0,
    "published": 0,
    "record": 0,
    "compilation_cache": 0,
    "huge_pages": 0,
    "licences": 0,
    "bundle_description": 1,
    "model_card": 1,
    "models": 1,
    "losses": 1,
    "metrics": 1,
    "data": 1,
    "weights": 2,
    "optim": 2,
    "freezing": 2,
    "hosts": 1,
    "sharding": 2,
    "checkpoint": 2,
    "batch_loss": 3,
    "steps": 4,
    "evaluate": 5,
    "training_records": 1,
    "validation": 1,
    "placement": 5,
    "program": 5,
    "initial": 6,
    "summary": 6,
    "bundle_files": 5,
    "bundle": 6,
    "onnx_model": 6,
    "unseen": 6,
    "comparison": 6,
    "fold": 6,
    "run_data": 6,
    "training": 7,
    "train": 8,
    "model_files": 7,
    "cross_validation": 9,
    "trial": 8,
    "model_evaluation": 9,
    "predict": 9,
    "export": 9,
    "import_weights": 9,
    "report": 9,
    "compile_for": 9,
    "demo": 10,
    "main": 11,
    "wash": 11,
    "compare": 11,
}


def part_of(path: Path) -> str:
    """The module or package; a package's command stands as high as main."""
    if path.name == "__main__.py":
        return "main"
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "ageflax":
            names = [f"ageflax.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("ageflax.")}
    return found - {"__version__"}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = part_of(path)
    for there in imported_parts(path) - {here}:
        if LAYERS[here] == 0:
            assert LAYERS[there] == 0, f"{path.name} is of layer 0 and imports {there}"
        else:
            assert LAYERS[there] < LAYERS[here], f"{path.name} imports {there}"


def test_ageflax_knows_no_workflows_and_only_the_engine_files_know_flyte():
    for path in FILES:
        assert "pipelines" not in _packages(path), path
    knowing = {p.name for p in (ROOT / "pipelines").glob("*.py") if "flyte" in _packages(p)}
    assert knowing == {"cluster.py", "launch.py"}


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
        assert not imported_parts(path), path
    for path in (ROOT / "tfds_builders").rglob("*.py"):
        if not path.name.endswith("_test.py"):
            assert imported_parts(path) <= {"labels", "errors", "data", "files"}, path


def test_only_steps_and_checkpoint_know_jit_and_orbax():
    for path in FILES:
        text = path.read_text()
        if path.name != "checkpoint.py":
            assert "import orbax" not in text, path
        if path.name != "steps.py":
            assert "jax.jit" not in text, path
