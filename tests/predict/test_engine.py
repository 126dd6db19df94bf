"""JAX and onnxruntime as what computes the answers."""

import dataclasses

import jax
import numpy as np
import pytest

from ageflax.bundle.loading import open_model
from ageflax.bundle.model import Member, Model
from ageflax.errors import InputError
from ageflax.predict import Predictor, engine
from ageflax.predict.estimator import Estimator
from tests.predict import drawn_models


@pytest.fixture
def faces():
    return np.random.default_rng(0).integers(0, 256, (35, 32, 32, 3), np.uint8)


def numbers(estimates):
    """Everything that an estimate tells, float[n, k]."""
    rows = []
    for one in estimates:
        answers = [one.age_group, one.gender]
        values = [p for answer in answers if answer for p in answer.probabilities.values()]
        rows.append([*values, one.age or 0.0, one.age_deviation or 0.0])
    return np.array(rows)


def scaled(fold, factor):
    """The fold's model with its weights scaled."""
    (member,) = open_model(fold / "bundle").members
    assert isinstance(member, Member)
    variables = jax.tree.map(lambda leaf: leaf * np.float32(factor), member.variables)
    return Model([dataclasses.replace(member, variables=variables)], "scaled")


@pytest.mark.parametrize("overrides", [
    (), ("eval.crops=mirror", "task=years", "loss.years=label_distribution"), ("loss.years=l1", "task=years"),
])  # fmt: skip
def test_both_engines_give_the_same_answers(overrides, faces, tmp_path):
    path = drawn_models.write(tmp_path / "bundle", *overrides)
    found = {name: Estimator(path, engine=name)(faces) for name in ("jax", "onnxruntime")}
    np.testing.assert_allclose(*map(numbers, found.values()), rtol=1e-4, atol=1e-5)


def test_both_average_the_folds_of_a_run(fold, faces, tmp_path):
    other = drawn_models.write(tmp_path / "bundle", seed=1)
    model = Model([open_model(p).members[0] for p in (fold / "bundle", other)], "a run")
    found = [numbers(Estimator(model, engine=name)(faces)) for name in ("jax", "onnxruntime")]
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
    assert np.abs(found[1] - numbers(Estimator(fold, engine="onnxruntime")(faces))).max() > 1e-3


def test_features_are_those_of_jax_whatever_the_engine(fold, faces):
    found = [Estimator(fold, engine=e)(faces[:2], features=True) for e in ("jax", "onnxruntime")]
    first, second = ([one.features for one in estimates] for estimates in found)
    np.testing.assert_array_equal(first, second)


def test_the_session_of_the_same_weights_is_shared_and_other_weights_have_their_own(fold, faces):
    first, second = (Estimator(fold, engine="onnxruntime") for _ in range(2))
    assert first.answer() is second.answer()
    halved = Estimator(scaled(fold, 0.5), engine="onnxruntime")
    assert halved.answer() is not first.answer()
    assert np.abs(numbers(halved(faces)) - numbers(first(faces))).max() > 1e-3


def test_the_choice_is_the_faster_engine(fold, tmp_path, monkeypatch):
    levi = open_model(fold)
    other = open_model(drawn_models.write(tmp_path / "bundle", "model.name=resnet_small"))
    assert engine.choose("auto", levi, quick=True) == "onnxruntime"
    assert engine.choose("auto", levi, quick=False) == "jax"  # Winograd's form
    assert engine.choose("auto", other, quick=False) == "onnxruntime"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert engine.choose("auto", other, quick=True) == "jax"
    monkeypatch.undo()
    for absent in ("onnx", "onnxruntime"):
        monkeypatch.setattr(engine, "find_spec", lambda name, gone=absent: name != gone)
        assert engine.choose("auto", other, quick=True) == "jax"


def test_the_choice_is_told_once_and_only_if_it_was_left_open(fold, faces, monkeypatch):
    monkeypatch.setattr(engine, "_told", False)
    said = []
    Estimator(fold, engine="onnxruntime", say=said.append)(faces)
    assert said == []
    for _ in range(2):
        Estimator(fold, quick=True, say=said.append)(faces)
    assert said == ["computing with onnxruntime, the faster on this CPU (--engine=jax for JAX)"]


def test_an_engine_that_is_unknown_or_cannot_run_the_model_is_named(fold, exported):
    with pytest.raises(InputError, match=r"^--engine=tvm: expected auto, jax, onnxruntime$"):
        Predictor(fold, detector="none", engine="tvm")
    with pytest.raises(InputError, match=r"^--engine=jax: .*\.onnx is run by onnxruntime; name"):
        Predictor(exported, detector="none", engine="jax")
    assert Estimator(exported).engine == "onnxruntime"


@pytest.fixture
def exported(fold, tmp_path):
    from ageflax.export import write

    path = tmp_path / "model.onnx"
    write.export(open_model(fold), path)
    return path


def test_weights_that_are_not_finite_are_told_by_both(fold, faces):
    model = scaled(fold, np.nan)
    for name in ("jax", "onnxruntime"):
        with pytest.raises(Exception, match="not finite"):
            Estimator(model, engine=name)(faces)


def test_the_command_takes_either(predict, portraits, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(portraits[0])
    found = []
    for name in ("jax", "onnxruntime"):
        code, (face,), _ = predict(f"--engine={name}", path)
        assert code == 0
        found.append(face)
    assert found[0]["age"] == pytest.approx(found[1]["age"], abs=1e-3)
    assert predict("--engine=jax", "--detector=none", path)[0] == 0
