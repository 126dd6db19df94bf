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


def edit(path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


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
        path.write_text(before + "\nCHANGED = 1\n")
        assert fingerprint.of_code("synthetic_faces/x") != base, name
        path.write_text(before)
    assert fingerprint.of_code("synthetic_faces/x") == base


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A project of a few lines, in place of the training and its builder."""
    files = {
        "ageflax/training/cross_validation.py": (
            '"""Trains."""\nfrom ageflax.losses.first import loss\nimport numpy as np\n'
            'def run(x):\n    """Runs."""\n    return np.abs(loss(x))  # years\n'
        ),
        "ageflax/losses/first.py": "def loss(x):\n    return x + 1\n",
        "ageflax/losses/second.py": "def loss(x):\n    return x + 2\n",
        "ageflax/losses/__init__.py": '"""Losses."""\n',
        "tfds_builders/b/b_dataset_builder.py": "from ageflax.losses import second\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# years", "# in years, of people"),
        ("Trains.", "Trains all folds."),
        ('    """Runs."""\n', ""),
        ("np.abs(loss(x))", "np.abs( loss( x ) )"),
        ("from ageflax.losses.first import loss\nimport numpy as np", "import numpy as np\nfrom "
         "ageflax.losses.first import loss"),
        ("def run", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import x\ndef run"),
    ],
)  # fmt: skip
def test_words_formatting_and_the_order_of_imports_do_not(before, after, small):
    path = small / "ageflax/training/cross_validation.py"
    if "TYPE_CHECKING" in after:
        edit(path, "def run", "from typing import TYPE_CHECKING\ndef run")
    base = fingerprint.of_code("b")
    edit(path, before, after)
    assert fingerprint.of_code("b") == base


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("np.abs(loss(x))", "np.abs(-loss(x))"),
        ("import numpy as np", "import jax.numpy as np"),
        ("losses.first", "losses.second"),
        ("def run(x)", "def run(x, *, years=False)"),
    ],
)
def test_code_and_imports_do(before, after, small):
    base = fingerprint.of_code("b")
    edit(small / "ageflax/training/cross_validation.py", before, after)
    assert fingerprint.of_code("b") != base


def test_a_move_does_not_change_it(small):
    base = fingerprint.of_code("b")
    (small / "ageflax/objectives").mkdir()
    (small / "ageflax/objectives/__init__.py").write_text("")
    (small / "ageflax/losses/first.py").rename(small / "ageflax/objectives/of_years.py")
    edit(small / "ageflax/training/cross_validation.py", "losses.first", "objectives.of_years")
    assert fingerprint.of_code("b") == base
    (small / "ageflax/losses/second.py").rename(small / "ageflax/objectives/third.py")
    builder = small / "tfds_builders/b/b_dataset_builder.py"
    builder.write_text("from ageflax.objectives import third as second\n")
    assert fingerprint.of_code("b") == base


def test_other_code_does_not(project):
    base = fingerprint.of_code("synthetic_faces/x")
    (project / "ageflax" / "report" / "run_page.py").write_text("")
    (project / "ageflax" / "main.py").write_text("")
    (project / "ageflax" / "new_module.py").write_text("")
    (project / "tfds_builders" / "adience" / "survey.py").write_text("")
    builder_test = "tfds_builders/synthetic_faces/synthetic_faces_dataset_builder_test.py"
    (project / builder_test).write_text("")
    assert fingerprint.of_code("synthetic_faces/x") == base


def test_the_sources_are_the_trainers_closure():
    names = set(fingerprint.sources("adience"))
    assert {
        "ageflax",
        "ageflax.training.cross_validation",
        "ageflax.training.run_fold",
        "ageflax.training.step",
        "ageflax.models.vit",
        "ageflax.config.schema",
        "tfds_builders.adience.survey",
    } <= names
    others = ("ageflax.report", "ageflax.predict", "ageflax.export", "configs", "tests")
    assert not {name for name in names if name.startswith(others)}


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
