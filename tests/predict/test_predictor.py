"""The Python interface."""

import gc
import json
import shutil
import types
import weakref
from typing import Any

import jax
import numpy as np
import pytest

import ageflax.predict
from ageflax.bundle import load, loading, onnx
from ageflax.errors import InputError, RunError
from ageflax.predict import Answer, Face, Framing, Predictor, Unread, engine
from tests.predict import drawn_models
from tests.predict.conftest import decoded


def male(face):
    return face.gender.probabilities["male"]


@pytest.fixture(scope="module")
def predictor(fold):
    return Predictor(fold, detector="haar")


def test_files_bytes_and_arrays_of_one_picture_are_one_face(predictor, portraits, tmp_path):
    (tmp_path / "a.jpg").write_bytes(portraits[0])
    faces = predictor([str(tmp_path / "a.jpg"), tmp_path / "a.jpg", portraits[0]])
    assert [face.source for face in faces] == [str(tmp_path / "a.jpg")] * 2 + ["#2"]
    assert [face.image for face in faces] == [0, 1, 2]
    assert len({(face.box, face.age) for face in faces}) == 1
    (face,) = predictor(decoded(portraits[0]))
    np.testing.assert_allclose(face.box, faces[0].box, atol=4)  # another JPEG decoder


def test_faces_are_listed_image_by_image_from_the_left_to_the_right(predictor, portraits):
    first, second = decoded(portraits[0]), decoded(portraits[1])
    wall = np.full((256, 256, 3), 200, np.uint8)
    both = np.hstack([second, wall, first])
    faces = predictor([wall, both, first])
    assert [face.image for face in faces] == [1, 1, 2]
    assert faces[0].box[0] < faces[1].box[0]


def test_an_opened_model_will_do_too(fold, portraits, predictor):
    again = Predictor(loading.open_model(fold / "bundle"), detector=predictor.detector)
    assert again(portraits) == predictor(portraits)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 4, 3), np.uint8), "#1: uint8[0, 4, 3], no pixels"),
        (None, "#1: None, no image; cv2.imread"),
        (b"", "#1: empty"),
        (b"text", "#1: not an image"),
        ("absent.jpg", "absent.jpg: absent"),
    ],
)
def test_what_is_no_image_is_an_error_that_names_it(predictor, portraits, image, message):
    with pytest.raises(InputError) as caught:
        predictor([portraits[0], image])
    assert str(caught.value).startswith(message)


def test_one_bad_image_of_many_can_be_an_entry_with_its_reason(predictor, portraits, tmp_path):
    (tmp_path / "b.jpg").write_bytes(portraits[0][:3000])
    found = predictor([portraits[0], tmp_path / "b.jpg", None, portraits[0]], errors="return")
    assert [type(one) for one in found] == [Face, Unread, Unread, Face]
    assert found[1] == Unread(str(tmp_path / "b.jpg"), 1, None, "truncated")
    assert (found[0].age, found[0].image, found[3].image) == (found[3].age, 0, 3)
    with pytest.raises(InputError, match="errors='ignore': expected raise or return"):
        predictor([], errors="ignore")


def test_folders_and_videos_are_answered_as_the_command_does(
    predictor, predict, portraits, clip, tmp_path
):
    (tmp_path / "a.jpg").write_bytes(portraits[0])
    faces = predictor([decoded(portraits[1]), tmp_path, clip], every=10)
    assert [face.image for face in faces] == [0, 1, 2, 2, 2]
    _, lines, _ = predict("--every=10", tmp_path, clip)
    assert [face.to_dict() for face in faces[1:]] == lines


def test_swapped_colours_are_said_once(fold, portraits):
    said = []
    predictor = Predictor(fold, detector="haar", say=said.append)
    right = decoded(portraits[0])
    swapped = right[..., ::-1]
    (face,) = predictor(right)
    assert said == []
    assert predictor(swapped) != [face] and predictor([swapped, swapped])
    assert said == ["#0: a face bluer than red; if the array is BGR, pass colors='bgr'"]
    assert predictor(swapped, colors="bgr") == predictor.faces(swapped, colors="bgr") == [face]


@pytest.mark.parametrize("name", ["jax", "onnxruntime"])
def test_nothing_of_a_predictor_outlives_it_and_detectors_are_shared(
    name, fold, portraits, monkeypatch
):
    monkeypatch.setattr(engine, "_sessions", {})  # another test's would not hold this one's weights
    first, second = (Predictor(fold, detector="haar", engine=name) for _ in range(2))
    assert first.detector is second.detector
    first(portraits[0])
    member: Any = first.estimator.model.members[0]
    leaves = jax.tree.leaves(member.variables)
    alive = [weakref.ref(one) for one in (first, first.estimator, member, *leaves)]
    # Canonicalizing a symbolic shape, JAX leaves an exception that refers to the frames of its callers.
    gc.collect()
    gc.disable()  # it would free what refers to itself late
    try:
        del first, member, leaves
        assert [one for one in alive if one() is not None] == []
    finally:
        gc.enable()


def test_nothing_in_nothing_out(predictor):
    assert predictor([]) == []


def test_a_run_answers_by_the_mean_of_its_folds(tmp_path, portraits):
    workdir = tmp_path / "run"
    for k in (1, 2):
        drawn_models.write(workdir / f"fold_{k}" / "bundle", "task=gender", seed=k)
    (mean,) = Predictor(workdir, detector="none")(portraits[0])
    each = [Predictor(workdir / f"fold_{k}", detector="none")(portraits[0])[0] for k in (1, 2)]
    shares = [male(face) for face in each]
    assert male(mean) == pytest.approx(np.mean(shares), abs=1e-6)
    assert (mean.age, mean.age_group, mean.age_deviation) == (None, None, None)
    assert json.loads(mean.to_json())["age"] is None
    with pytest.raises(InputError, match="were calibrated one by one"):
        Predictor(workdir, detector="none", calibrated=True)


def test_years_without_a_distribution_have_no_deviation_and_an_onnx_file_says_the_same(
    tmp_path, portraits, monkeypatch
):
    fold = drawn_models.write(tmp_path / "bundle", "task=years+gender", "loss.years=l1")
    predictor = Predictor(fold, detector="none")
    (face,) = predictor(portraits[0])
    assert face.age is not None and face.age_deviation is None
    assert max(face.to_dict()["age_group"]["probabilities"].values()) == 1.0

    model = load(fold)
    size = predictor.description.input.resize
    outputs = {"age": "years", "gender_probabilities": "gender"}
    session = types.SimpleNamespace(
        get_inputs=lambda: [
            types.SimpleNamespace(name="images", type="tensor(uint8)", shape=["b", size, size, 3])
        ],
        get_outputs=lambda: [types.SimpleNamespace(name=name) for name in outputs],
        get_modelmeta=lambda: types.SimpleNamespace(
            custom_metadata_map={onnx.METADATA_KEY: json.dumps(predictor.description.to_json())}
        ),
        run=lambda names, feed: [
            np.asarray(model(feed["images"])[outputs[name]]) for name in names
        ],
    )
    monkeypatch.setattr(onnx, "_session", lambda path: session)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"stands for itself")
    (other,) = Predictor(path, detector="none")(portraits[0])
    assert other.age == pytest.approx(face.age, abs=1e-3)
    assert male(other) == pytest.approx(male(face), abs=1e-5)
    with pytest.raises(InputError, match="has its crop built in"):
        Predictor(path, detector="none", crops="ten")


def test_answers_that_are_not_finite_are_a_failure(fold, portraits, tmp_path):
    from safetensors.numpy import load_file, save_file

    shutil.copytree(fold / "bundle", tmp_path / "bundle")
    path = tmp_path / "bundle" / "model.safetensors"
    tensors = load_file(path)
    # Finite, as loading demands; their products overflow.
    heads = {key: np.full_like(v, 3e38) for key, v in tensors.items() if "/heads/" in key}
    save_file({**tensors, **heads}, path)
    with pytest.raises(RunError, match="are not finite; its weights are damaged"):
        Predictor(tmp_path / "bundle", detector="none")(portraits[0])


def test_a_bundle_says_how_it_frames_faces(fold, predictor):
    config = json.loads((fold / "bundle" / "config.json").read_text())
    assert config["crop_margin"] == 0.4
    assert config["eyes"] is None
    assert predictor.framing == Framing(0.4, None, config["input"]["resize"], "bilinear")


def test_a_face_is_one_line_of_json_whatever_its_name():
    said = Answer.of({"female": 0.25, "male": 0.75})
    face = Face("caf\udce9\n🙂.jpg", 0, None, (1.25, 2.0, 3.0, 4.0), None, None, None, None, said)
    line = face.to_json()
    assert line.isascii() and "\n" not in line
    assert json.loads(line)["source"] == face.source
    assert json.loads(line)["gender"] == {
        "label": "male", "probabilities": {"female": 0.25, "male": 0.75}
    }  # fmt: skip


def test_every_public_name_is_there():
    for name in ageflax.predict.__all__:
        assert getattr(ageflax.predict, name) is not None
    with pytest.raises(AttributeError, match="Prediktor"):
        ageflax.predict.Prediktor  # noqa: B018


def test_boxes_and_captions_are_drawn_on_a_copy(predictor, photo):
    before = photo.copy()
    faces = predictor(photo)
    drawn = ageflax.predict.annotated(photo, faces)
    np.testing.assert_array_equal(photo, before)
    assert (drawn != photo).any()
    np.testing.assert_array_equal(ageflax.predict.annotated(photo, []), photo)
    tiny = ageflax.predict.annotated(np.zeros((2, 2, 3), np.uint8), faces)
    assert tiny.shape == (2, 2, 3)
