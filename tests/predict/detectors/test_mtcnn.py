"""MTCNN on NumPy: as the package's own code, faces and eyes where they are, and wrong packages refused."""

import importlib.metadata
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ageflax.data import images
from ageflax.errors import InputError
from ageflax.predict.detectors import Mtcnn, mtcnn, mtcnn_networks, overlap
from tests.golden import make_mtcnn
from tests.predict.conftest import decoded
from tfds_builders.synthetic_faces import drawing, population

REAL = os.environ.get("AGEFLAX_REAL_DATA", "")
real = pytest.mark.skipif(not REAL, reason="AGEFLAX_REAL_DATA is not set")


@pytest.fixture(scope="module")
def detector():
    return Mtcnn()


@pytest.fixture(scope="module")
def unsure():
    """A detector that keeps all that its third network sees."""
    return Mtcnn(min_score=0.0)


@pytest.fixture(scope="module")
def portrait():
    """A drawn person of 256 pixels."""
    people = {subject.number: subject for subject in population.populate(40, 0)}
    return decoded(drawing.photograph(people[2], 0, size=256, seed=0))


def photograph(name):
    return images.decode(Path(REAL, "photos", name).read_bytes())


def turned(image, degrees):
    """The image turned anticlockwise about its middle, and where its points go."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    there = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return there, lambda point: matrix @ (*point, 1)


@pytest.mark.parametrize("name", make_mtcnn.SHAPES)
def test_networks_answer_as_the_packages_own(name):
    with np.load(make_mtcnn.OUTPUT) as golden:
        expected = [golden[f"{name}/{place}"] for place in range(3 if name == "onet" else 2)]
    networks = dict(zip(make_mtcnn.SHAPES, mtcnn_networks.read(), strict=True))
    *found, logits = networks[name](make_mtcnn.images(name))
    for here, there in zip(found, expected, strict=False):
        here = here.transpose(0, 2, 3, 1).reshape(there.shape)
        np.testing.assert_allclose(here, there, atol=1e-5)
    np.testing.assert_allclose(
        mtcnn._shares(logits).reshape(expected[-1].shape[:-1]), expected[-1][..., 1], atol=1e-5
    )


def test_a_face_in_a_larger_scene_is_found_where_it_is(detector, portrait):
    scene = np.full((600, 800, 3), 128, np.uint8)
    scene[300:556, 400:656] = portrait
    (alone,), (found,) = detector(portrait), detector(scene)
    assert overlap(found.box, (alone.box[0] + 400, alone.box[1] + 300, *alone.box[2:])) > 0.8
    np.testing.assert_allclose(found.eyes, np.add(alone.eyes, (400, 300)), atol=3)
    assert found.eyes[0][0] < found.eyes[1][0]


def test_boxes_and_eyes_scale_with_the_image(detector, portrait):
    large = cv2.resize(portrait, (1280, 1280), interpolation=cv2.INTER_CUBIC)
    (small,), (found,) = detector(portrait), detector(large)
    assert overlap(found.box, [5 * extent for extent in small.box]) > 0.8
    np.testing.assert_allclose(found.eyes, 5 * np.array(small.eyes), atol=0.03 * found.box[3])


@pytest.mark.parametrize("degrees", [-75, -40, 20, 60])
def test_tilted_heads_are_found_with_their_eyes(detector, portrait, degrees):
    scene = cv2.copyMakeBorder(portrait, 80, 80, 80, 80, cv2.BORDER_REPLICATE)
    image, place = turned(scene, degrees)
    (upright,), (tilted,) = detector(scene), detector(image)
    for before, after in zip(upright.eyes, tilted.eyes, strict=True):
        np.testing.assert_allclose(after, place(before), atol=0.06 * upright.box[3])


def test_frames_are_searched_upright_only(detector, portrait, monkeypatch):
    tilts = []
    monkeypatch.setattr(Mtcnn, "_tilted", lambda self, image, degrees: tilts.append(degrees) or [])
    nobody = np.full_like(portrait, 90)
    assert detector(nobody, fast=True) == [] and tilts == []
    assert detector(nobody) == [] and len(tilts) == 2
    assert len(detector(portrait)) == 1 and len(tilts) == 2


def test_boxes_do_not_depend_on_how_closely_eyes_are_looked_at(detector, portrait):
    (closely,), (at_once,) = detector(portrait), detector(portrait, closely=False)
    assert closely.box == at_once.box and closely.score == at_once.score
    assert closely.eyes != at_once.eyes


def test_a_score_is_a_threshold(detector, portrait):
    (found,) = detector(portrait)
    assert 0.7 <= found.score <= 1
    assert Mtcnn(min_score=found.score)(portrait) == [found]
    assert Mtcnn(min_score=float(np.nextafter(np.float32(found.score), 2)))(portrait) == []


def test_one_detector_serves_several_threads(detector, portrait):
    scenes = [portrait, portrait[:, ::-1].copy()] * 2
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(detector, scenes)) == [detector(scene) for scene in scenes[:2]] * 2


def test_many_windows_are_judged_in_parts(detector, portrait, monkeypatch):
    expected = detector(portrait)
    monkeypatch.setattr(mtcnn, "_AT_ONCE", 3)
    assert len(detector(portrait)) == len(expected) == 1
    assert overlap(detector(portrait)[0].box, expected[0].box) > 0.99


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (19, 19), (20, 20), (12, 3000)])
def test_images_too_small_for_a_face_have_none(detector, shape):
    assert detector(np.full((*shape, 3), 90, np.uint8)) == []


@settings(max_examples=10, deadline=None)
@given(image=arrays.arrays(np.uint8, st.tuples(*[st.integers(1, 60)] * 2, st.just(3))))
def test_any_image_has_an_answer(image, unsure):
    for found in unsure(image):
        assert np.isfinite([*found.box, *np.ravel(found.eyes)]).all() and 0 <= found.score <= 1


def test_the_best_of_overlapping_boxes_are_kept_in_order():
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [0, 0, 2, 2], [5, 5, 6, 6]], np.float32)
    scores = np.array([0.5, 0.9, 0.7, 0.8], np.float32)
    assert mtcnn._best(boxes, scores, 0.5).tolist() == [1, 3, 2]  # thirds overlap: both stay
    assert mtcnn._best(boxes, scores, 0.3).tolist() == [1, 3]
    assert mtcnn._best(boxes[:0], scores[:0], 0.5).tolist() == []


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the installed package's weights that a test may damage."""
    installed = importlib.metadata.distribution("mtcnn")
    folder = tmp_path / "mtcnn" / "assets" / "weights"
    folder.mkdir(parents=True)
    for name in ("pnet", "rnet", "onet"):
        content = Path(str(installed.locate_file(f"mtcnn/assets/weights/{name}.lz4"))).read_bytes()
        (folder / f"{name}.lz4").write_bytes(content)

    class Copied:
        def locate_file(self, path):
            return tmp_path / path

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Copied())
    return folder


def test_the_copy_is_read(package, portrait):
    assert len(Mtcnn()(portrait)) == 1


@pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04c", None])
def test_other_content_is_refused_unopened(package, name, content):
    path = package / f"{name}.lz4"
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    with pytest.raises(
        InputError, match=rf"{name}\.lz4: sha256 is \w+, not \w+; pip install"
    ) as caught:
        Mtcnn()
    assert "\n" not in str(caught.value)


def test_an_absent_file_or_package_is_named(package, monkeypatch):
    (package / "onet.lz4").unlink()
    with pytest.raises(InputError, match=r"onet\.lz4 cannot be read: No such file"):
        Mtcnn()

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(
        InputError, match="--detector=mtcnn: the package is not installed; pip install mtcnn"
    ):
        Mtcnn()


@real
@pytest.mark.parametrize(("name", "people"), [("group_of_19.jpg", 19), ("two_people.jpg", 2)])
def test_everybody_is_found_as_yunet_frames_them(detector, name, people):
    from ageflax.predict.detectors import open_detector

    path = Path(REAL, "detector", "face_detection_yunet_2023mar.onnx")
    yunet = open_detector(str(path), say=print)(photograph(name))
    found = detector(photograph(name))
    assert len(found) == len(detector(photograph(name), fast=True)) == people
    for one, other in zip(found, yunet, strict=True):
        assert overlap(one.box, other.box) > 0.6
        np.testing.assert_allclose(
            np.array(one.eyes), np.array(other.eyes), atol=0.1 * other.box[3]
        )


@pytest.mark.parametrize(
    "shape", [(1, 27, 1), (1, 27, 5), (3, 27, 9_711), (2, 1152, 1), (2, 1152, 2)]
)
def test_products_in_blocks_are_products(shape):
    draws = np.random.default_rng(0)
    kernel = draws.normal(size=(32, shape[1])).astype(np.float32)
    columns = draws.normal(size=shape).astype(np.float32)
    found = mtcnn_networks._product(kernel, columns)
    np.testing.assert_allclose(found, kernel.astype(np.float64) @ columns, atol=1e-3)
