import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import ageflax
from ageflax.predict.detectors import weights
from ageflax.weights import hub
from tests.conftest import small_file
from tfds_builders.imdb_wiki import download

ROOT = Path(__file__).parent.parent
# Modules that use the network. Add a new file with them to _REACHING, and pin its downloads.
_NETWORK = {
    "urllib.request",
    "requests",
    "httpx",
    "aiohttp",
    "huggingface_hub",
    "http.client",
    "ftplib",
}
_REACHING = {
    "ageflax/predict/detectors/weights.py",  # looks into the hub's cache
    "ageflax/bundle/card.py",  # a card's front matter; sends nothing
    "ageflax/weights/hub.py",
    "tfds_builders/imdb_wiki/download.py",
}


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {
                a.value
                for a in node.args
                if isinstance(a, ast.Constant) and isinstance(a.value, str)
            }
    return found


def test_nothing_else_downloads():
    reaching = {
        path.relative_to(ROOT).as_posix()
        for package in ("ageflax", "pipelines", "tfds_builders", "configs")
        for path in (ROOT / package).rglob("*.py")
        if not path.name.endswith("_test.py") and _imported(path) & _NETWORK
    }
    assert reaching == _REACHING


def test_what_is_downloaded_is_pinned():
    assert re.fullmatch(r"[0-9a-f]{64}", weights.SHA256)
    for commit, sha256 in hub.PINNED.values():
        assert re.fullmatch(r"[0-9a-f]{40}", commit)
        assert re.fullmatch(r"[0-9a-f]{64}", sha256)
    for md5 in download.MD5.values():
        assert re.fullmatch(r"[0-9a-f]{32}", md5)


def test_no_token_and_no_home_gets_into_what_a_run_leaves(data_dir, small_faces, tmp_path):
    home, workdir = tmp_path / "home-of-somebody", tmp_path / "run"
    home.mkdir()
    secrets = {
        "HF_TOKEN": "hf_thisIsNoToken000000000000000000",
        "HUGGING_FACE_HUB_TOKEN": "hf_norIsThis11111111111111111111111",
        "AWS_SECRET_ACCESS_KEY": "neitherIsThisOne2222222222222222222",
        "WANDB_API_KEY": "orThisOne33333333333333333333333333",
    }
    done = subprocess.run(
        [sys.executable, "-m", "ageflax.main", f"--config={small_file(tmp_path, steps=4, every=2, log_every=2)}",
         f"--config.data.dir={data_dir}", "--config.fold=0", f"--workdir={workdir}"],
        capture_output=True, timeout=300, cwd=ROOT,
        env=os.environ | secrets | {"HOME": str(home), "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    left = {str(path): path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    assert any(name.endswith("report.html") for name in left)
    left |= {"standard output": done.stdout, "standard error": done.stderr}
    for name, content in left.items():
        for secret in (*secrets.values(), str(home)):
            assert secret.encode() not in content, name


def test_the_tested_versions_are_upper_bounds_of_every_resolution():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all("==" in pin for pin in pins)
    bounds = [pin.replace("==", "<=", 1) for pin in pins]
    assert project["tool"]["uv"]["constraint-dependencies"] == bounds


def test_a_release_has_one_number():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited and cited[1] == project["version"] == ageflax.__version__
