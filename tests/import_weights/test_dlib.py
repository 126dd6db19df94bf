"""Imported files of dlib's age predictor and gender classifier answer as dlib does."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from ageflax import bundle
from tests.golden import dlib_ages_networks as networks
from tests.weights.formats import dlib_writer
from tests.weights.formats.dlib_writer import CLASSES_LOSS, FACE, GENDER, rgb, word

GOLDEN = Path(__file__).parents[1] / "golden" / "dlib_ages.npz"
ARCH = {"age": "dlib_age_resnet", "gender": "dlib_gender_cnn"}
DRAW = np.random.default_rng(0)


@functools.cache
def small(task):
    """Tensors of a very narrow network."""
    shapes = dlib_writer.age_shapes if task == "age" else dlib_writer.gender_shapes
    return {
        name: DRAW.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes(0.03).items()
    }


@pytest.mark.parametrize("style", ["old", "new", "trained"])
@pytest.mark.parametrize("task", ["age", "gender"])
def test_probabilities_are_dlibs_whatever_its_version(run, task, style):
    content = networks.content(task, style=style)
    code, output, said = run(content, f"--known=dlib_{task}", framework="dlib", arch=ARCH[task])
    assert code == 0, said
    model = bundle.load(output)
    expected = np.load(GOLDEN, allow_pickle=False)[task]
    found = np.asarray(model(networks.images(task))["years" if task == "age" else task])
    np.testing.assert_allclose(found[:, : expected.shape[1]], expected, atol=1e-5)
    assert not found[:, expected.shape[1] :].any()  # years that the file lacks
    assert model.config["input"]["resize"] == model.config["input"]["crop"] == networks.SIDES[task]
    if task == "age":
        assert "head years: 81 classes, 0 to 80" in said
        ages = np.asarray(model.ages({"years": found}).years)
        np.testing.assert_allclose(ages, expected @ np.arange(81), atol=1e-3)
    else:
        assert model.heads == {"gender": ("female", "male")}


def test_files_as_written_here_have_the_size_of_the_published_ones():
    """dnn_age_predictor_v1.dat and dnn_gender_classifier_v1.dat, both saved for more training."""
    age, gender = dlib_writer.age_shapes(1.0), dlib_writer.gender_shapes(1.0)
    zeros = {name: np.zeros(shape, np.float32) for name, shape in age.items()}
    assert len(dlib_writer.age_network(zeros, style="trained")) == 10_790_013
    zeros = {name: np.zeros(shape, np.float32) for name, shape in gender.items()}
    assert len(dlib_writer.gender_network(zeros, style="trained")) == 530_926


def test_face_recognition_becomes_a_trunk(run):
    tensors = {
        name: DRAW.normal(0, 0.1, shape).astype(np.float32)
        for name, shape in dlib_writer.shapes(0.0625).items()
    }
    content = dlib_writer.network(dlib_writer.layers(tensors, FACE))
    code, output, said = run(content, framework="dlib", arch="dlib_face_resnet")
    assert code == 0, said
    assert "no heads (the file has no last layer)" in said and "not used: fc1.weight" in said
    assert json.loads((output / "config.json").read_text())["architecture"]["width"] == 0.0625


@pytest.mark.parametrize(
    ("words", "arch", "said"),
    [
        ((), "dlib_age_resnet", "--classes=years:0-80 for these years"),
        (("--classes=years",), "dlib_age_resnet", "81 outputs, expected 101 for the years 0 to 100"),
        (("--classes=years:1-80",), "dlib_age_resnet", "expected 80 for the years 1 to 80"),
        (("--known=dlib_gender",), "dlib_age_resnet", "use --arch=dlib_gender_cnn"),
        (("--known=dlib_gender",), "dlib_gender_cnn", "the file's network is dlib_age_resnet"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(run, words, arch, said):
    content = dlib_writer.age_network(small("age"))
    code, _, printed = run(content, *words, framework="dlib", arch=arch)
    assert code == 2 and said in printed and printed.count("\n") == 1


LAYERS = dlib_writer.gender_layers(small("gender"))
classes = functools.partial(dlib_writer.network, loss=CLASSES_LOSS, image=rgb(32, 32))
FUSED = dlib_writer.gender_layers(small("gender"), style="new")
# Two convolutions per stage, each with two more layers, and a pool.
STAGE = 3 * len(GENDER) + 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (classes([*LAYERS[:2], *LAYERS[3:]]), "other layers, or in another order"),
        (classes([*LAYERS[:-2], LAYERS[-1]]), "other layers, or in another order"),
        (classes([*LAYERS[:3], None, *LAYERS[3:]]), "other layers"),
        (classes([*LAYERS[: STAGE - 1], dlib_writer.pool("max", 2, 2, 2, 2, 0, 0), *LAYERS[STAGE:]]), "other layers"),
        (classes([*LAYERS[:-3], LAYERS[-2], LAYERS[-3], LAYERS[-1]]), "a factor that is not before"),
        (classes([*FUSED[:2], word("relu_2") + b"1", *FUSED[3:]]), "layers joined by fuse_layers"),
        (classes(LAYERS, image=rgb(32, 32, means=(127.5, 127.5, 127.5))), "means 127.5, 127.5, 127.5, not dlib's"),
        (classes(LAYERS, loss=word("loss_binary_log_")), "its start is another's"),
        (classes(LAYERS)[:-1], "1 bytes announced, 0 left"),
    ],
)  # fmt: skip
def test_another_network_is_refused_in_a_line(refused, content, said):
    words = {"framework": "dlib", "arch": "dlib_gender_cnn"}
    assert said in refused(content, "--known=dlib_gender", **words)
