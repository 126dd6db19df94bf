"""The wheel alone, in an environment of its own, from a folder that is not the repository."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from hatchling.build import build_wheel

from pipelines.plan import fingerprint
from tests.conftest import SMALL_FACES
from tfds_builders.synthetic_faces import drawing, population

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return folder / build_wheel(str(folder))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """Scripts of a fresh environment with the wheel, which sees the dependencies of this one."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, with_pip=False)
    packages = next(place.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # As a line of a .pth file it adds the dependencies, and not the clone that they point to.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    scripts = place / "bin"
    entry = "import sys\nfrom ageflax.__main__ import main\nsys.exit(main())\n"
    (scripts / "ageflax").write_text(f"#!{scripts / 'python'}\n{entry}")
    (scripts / "ageflax").chmod(0o755)
    return scripts


@pytest.fixture
def call(installed, tmp_path):
    """Runs a script of the environment in an empty folder; returns what it prints."""

    def run(*words: str, code: int = 0) -> str:
        known = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        done = subprocess.run(
            [str(installed / words[0]), *words[1:]],
            cwd=tmp_path,
            env=known,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    return run


def test_it_holds_one_package_without_tests_and_its_terms(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        (entry,) = [name for name in names if name.endswith("entry_points.txt")]
        stated = archive.read(metadata).decode()
        assert "ageflax = ageflax.__main__:main" in archive.read(entry).decode()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"ageflax"}
    assert {Path(name).suffix for name in names if name.startswith("ageflax/")} <= {
        "", ".bib", ".css", ".jinja", ".js", ".json", ".md", ".py", ".safetensors", ".svg", ".txt", ".typed",
    }  # fmt: skip
    assert not [n for n in names if "test" in Path(n).stem or "dummy" in n or "conftest" in n]
    assert {"ageflax/py.typed", "ageflax/configs/levi.py", "ageflax/pipelines/compare.py",
            "ageflax/tfds_builders/adience/CITATIONS.bib"} <= set(names)  # fmt: skip
    assert "License-Expression: Apache-2.0 AND LicenseRef-ageflax-default-model" in stated
    assert "License-File: ageflax/bundle/default/LICENSE" in stated


_LOOK = """
import importlib, importlib.util, json, pkgutil, sys
import ageflax, ageflax.datasets, tensorflow_datasets as tfds
from ageflax.pipelines.plan import fingerprint

def failed(name):
    raise ImportError(name)

for module in pkgutil.walk_packages(ageflax.__path__, "ageflax.", failed):
    if not module.name.endswith("__main__") and ".configs." not in module.name:
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # of an extra that is not here
            if error.name.partition(".")[0] in ("ageflax", "pipelines", "tfds_builders"):
                raise
print(json.dumps({
    "file": ageflax.__file__,
    "claimed": [n for n in ("pipelines", "tfds_builders", "configs", "tests") if importlib.util.find_spec(n)],
    "names": ageflax.datasets.NAMES,
    "name": tfds.builder("adience", data_dir=sys.argv[1]).info.full_name,
    "faces": len(tfds.data_source(sys.argv[2], data_dir=sys.argv[1])["fold_0"]),
    "code": fingerprint.of_code("adience"),
}))
"""


def test_every_module_is_importable_under_one_name_and_tfds_knows_the_datasets(
    call, installed, small_faces, data_dir
):
    told = json.loads(call("python", "-c", _LOOK, str(data_dir), SMALL_FACES).splitlines()[-1])
    assert told.pop("file").startswith(str(installed.parent))
    assert told == {
        "claimed": [],
        "names": ["adience", "imdb_wiki", "labeled_faces", "synthetic_faces"],
        "name": "adience/aligned/1.0.0",
        "faces": 32,
        # A pipeline of a clone goes on in an installation: same code, same fingerprint.
        "code": fingerprint.of_code("adience"),
    }


def test_a_pipeline_trains_by_bare_name_and_photographs_are_answered(
    call, small_faces, data_dir, tmp_path
):
    small = (f"--config.data.name={SMALL_FACES}", f"--config.data.dir={data_dir}",
             "--config.data.resize=32", "--config.data.crop=27", "--config.model.width=0.05",
             "--config.steps=8", "--config.folds=(1,)", "--config.eval.every=4")  # fmt: skip
    assert "usage: ageflax COMMAND" in call("ageflax", "--help")
    table = call("ageflax", "cross_validate", "--configs=quickstart", "--workdir=pipeline", *small)
    assert "quickstart" in table
    subject = population.populate(population.MIN_PEOPLE, 0)[0]
    (tmp_path / "face.jpg").write_bytes(drawing.photograph(subject, 0, size=96, seed=0))
    (face,) = call("ageflax", "predict", "--detector=none", "face.jpg").splitlines()
    assert 0 <= json.loads(face)["age"] <= 100


@pytest.mark.long
def test_its_own_dependencies_suffice(wheel, tmp_path):
    """A fresh environment from the package index, with nothing but what the wheel asks for."""
    uv = shutil.which("uv") or pytest.skip("uv is not installed")
    python = tmp_path / "fresh" / "bin" / "python"
    subprocess.run(
        [uv, "venv", "-q", "--python", sys.executable, str(tmp_path / "fresh")], check=True
    )
    subprocess.run([uv, "pip", "install", "-q", "--python", str(python), str(wheel)], check=True)
    words = [
        "train",
        "--config=quickstart",
        "--config.steps=4",
        "--config.fold=0",
        "--config.data.dir=data",
    ]
    subprocess.run([python.with_name("ageflax"), *words], cwd=tmp_path, check=True)
    assert (tmp_path / "runs" / "quickstart" / "report.html").is_file()
