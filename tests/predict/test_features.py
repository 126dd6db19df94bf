"""Features of the trunk, in Python and as a file."""

import jax
import numpy as np
import pytest

from ageflax.bundle.inference import make_features
from ageflax.bundle.model import Model
from ageflax.bundle.onnx import OnnxModel
from ageflax.errors import InputError
from ageflax.predict import Predictor
from ageflax.predict.features import FeaturesFile


@pytest.fixture(scope="module")
def predictor(fold):
    return Predictor(fold, detector="none", crops="mirror")


def test_features_are_the_heads_input_averaged_over_the_views(predictor, portraits):
    features, faces = predictor.features(portraits)
    assert features.dtype == np.float32 and len(features) == 3
    assert [face.image for face in faces] == [0, 1, 2]
    model, network = predictor.estimator.model, predictor.estimator.model.members[0].network
    preprocessing = network.description.input.preprocessing
    views = jax.jit(make_features(network.module, preprocessing, crops="mirror"))(
        model.variables, np.stack([model.prepare(content) for content in portraits])
    )
    assert views.shape == (3, 2, features.shape[1])
    np.testing.assert_allclose(features, views.mean(1), rtol=1e-4, atol=1e-4)
    for face, plain in zip(faces, predictor(portraits), strict=True):
        assert plain.features is None
        assert (face.box, face.age) == (plain.box, pytest.approx(plain.age, abs=1e-3))


def test_without_a_face_there_are_no_rows(fold):
    features, faces = Predictor(fold, detector="haar").features(np.zeros((40, 40, 3), np.uint8))
    assert (features.shape, faces) == ((0, 0), [])


def test_the_file_has_a_row_per_line(predict, predictor, portraits, clip, tmp_path):
    for k, content in enumerate(portraits):
        (tmp_path / f"{k}.jpg").write_bytes(content)
    out = tmp_path / "out" / "features.npz"
    words = [f"--features={out}", "--crops=mirror", "--every=10", tmp_path, clip]
    code, lines, _ = predict(*words, detector="none")
    assert code == 0 and len(lines) == 6
    with np.load(out) as found:  # no pickles
        rows = dict(found)
    assert rows["source"].tolist() == [line["source"] for line in lines]
    assert rows["image"].tolist() == [0, 1, 2, 3, 3, 3]
    assert rows["frame"].tolist() == [-1, -1, -1, 0, 10, 20]
    assert rows["track"].tolist() == [-1, -1, -1, 1, 1, 2]
    assert rows["box"].tolist() == [line["box"] for line in lines]
    assert np.isnan(rows["detection_score"]).all()
    np.testing.assert_allclose(rows["age"], [line["age"] for line in lines], atol=1e-4)
    expected, _ = predictor.features(portraits)
    np.testing.assert_allclose(rows["features"][:3], expected, rtol=1e-4, atol=1e-4)
    assert str(rows["sha256"]) == predictor.estimator.model.members[0].sha256
    assert str(rows["crops"]) == "mirror"


def test_a_run_that_fails_leaves_the_old_file_and_nothing_else(predictor, tmp_path):
    path = tmp_path / "features.npz"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), FeaturesFile(path, predictor):
        raise KeyboardInterrupt
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]
    with FeaturesFile(path, predictor):
        pass
    with np.load(path) as found:
        assert found["features"].shape == (0, 0) and found["box"].shape == (0, 4)


def test_the_file_replaces_no_photograph(predict, portraits, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(portraits[0])
    code, lines, err = predict(f"--features={path}", tmp_path)
    assert (code, lines) == (2, []) and "is also an input" in err[0]
    assert path.read_bytes() == portraits[0]


def test_several_models_and_onnx_files_have_no_features(predictor, portraits):
    first = predictor.estimator.model.members[0]
    several = Predictor(Model([first, first], "runs/x"), detector="none")
    with pytest.raises(InputError, match=r"^runs/x: the models of a run share no features; name"):
        several.features(portraits)
    exported = Model([object.__new__(OnnxModel)], "x.onnx")
    with pytest.raises(
        InputError, match=r"^x\.onnx: an \.onnx file gives no features; name a bundle"
    ):
        exported.answer(features=True)
