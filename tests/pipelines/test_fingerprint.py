import shutil

import pytest
from ml_collections import ConfigDict

from ageflax import config as configuration
from pipelines.plan import fingerprint


def resolved(*words: str, values: dict | None = None):
    return configuration.resolve(ConfigDict(values or {}), words)


def of(config, data="d", weights="w") -> str:
    return fingerprint.of_run(config, data=data, weights=weights)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the code, to be changed."""
    for name in ("ageflax", "tfds_builders"):
        shutil.copytree(fingerprint.ROOT / name, tmp_path / name)
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    return tmp_path


def test_config_data_and_weights_change_it():
    base = of(resolved())
    assert of(resolved()) == base
    assert of(resolved("--config.seed=1")) != base
    assert of(resolved("--config.model.name=resnet18")) != base
    assert of(resolved(), data="other") != base
    assert of(resolved(), weights="other") != base
    assert len(base) == 64


def test_neither_the_order_of_keys_nor_where_and_which_folds_change_it():
    words = ("--config.seed=1", "--config.data.batch_size=64", "--config.optim.learning_rate=0.1")
    base = of(resolved(*words))
    assert of(resolved(*reversed(words))) == base
    first = {"seed": 1, "data": {"batch_size": 64}, "optim": {"learning_rate": 0.1}}
    assert of(resolved(values=dict(reversed(first.items())))) == base
    places = ("--config.fold=3", "--config.data.dir=/x", "--config.data.manual_dir=/y")
    placement = ("--config.data.placement=stream", "--config.data.workers=2")
    assert of(resolved(*words, *places, *placement)) == base


def test_code_that_a_figure_depends_on_changes_it(project):
    base = fingerprint.of_code("synthetic_faces/x")
    for name in (
        "ageflax/losses/classes.py",
        "ageflax/models/resnet.py",
        "ageflax/training/run_fold.py",
        "tfds_builders/synthetic_faces/hair.py",
    ):
        path = project / name
        before = path.read_text()
        path.write_text(before + "\n# changed\n")
        assert fingerprint.of_code("synthetic_faces/x") != base, name
        path.write_text(before)
    assert fingerprint.of_code("synthetic_faces/x") == base


def test_other_code_does_not(project):
    base = fingerprint.of_code("synthetic_faces/x")
    (project / "ageflax" / "report" / "_page.py").write_text("")
    (project / "ageflax" / "main.py").write_text("")
    (project / "ageflax" / "new_module.py").write_text("")
    (project / "tfds_builders" / "adience" / "survey.py").write_text("")
    builder_test = "tfds_builders/synthetic_faces/synthetic_faces_dataset_builder_test.py"
    (project / builder_test).write_text("")
    assert fingerprint.of_code("synthetic_faces/x") == base


def test_the_sources_are_the_trainers_closure():
    names = {
        path.relative_to(fingerprint.ROOT).as_posix() for path in fingerprint.sources("adience")
    }
    assert {
        "ageflax/__init__.py",
        "ageflax/training/cross_validation.py",
        "ageflax/training/run_fold.py",
        "ageflax/training/step.py",
        "ageflax/models/vit.py",
        "ageflax/config/schema.py",
        "tfds_builders/adience/survey.py",
    } <= names
    assert not {name for name in names if name.startswith(("ageflax/report", "configs", "tests"))}


def test_weights_are_what_they_hold_not_where_they_lie(tmp_path):
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
    a, b, c = (fingerprint.of_weights(str(tmp_path / name)) for name in "abc")
    assert a == b != c
    assert fingerprint.of_weights(str(tmp_path / "a" / "model.safetensors")) == a
    assert fingerprint.of_weights("timm/resnet34.tv_in1k") != fingerprint.of_weights("")


def test_no_two_lists_of_parts_run_into_one():
    assert fingerprint.digest([b"ab", b"c"]) != fingerprint.digest([b"a", b"bc"])
