import json
import re

import numpy as np
import pytest

from ageflax import config as configuration
from ageflax.bundle import load
from ageflax.bundle import model as model_module
from ageflax.errors import InputError
from ageflax.training import cross_validation
from tests.conftest import small_values
from tests.support import small_bundle


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_dir, small_faces):
    workdir = tmp_path_factory.mktemp("trained")
    config = configuration.resolve(
        small_values(data_dir), ["--config.fold=0", "--config.task=joint"]
    )
    cross_validation.run(config, workdir, say=lambda line: None)
    return workdir / "fold_0"


def test_a_bundle_predicts_what_its_fold_predicted(trained, small_faces):
    model = load(trained / "bundle")
    rows = [row for row in range(len(small_faces)) if small_faces.fold_of(row) == 0]
    faces = np.stack([model.prepare(e["image"]) for e in small_faces.examples(rows)])
    probabilities = model(faces)
    lines = (trained / "predictions.csv").read_text().splitlines()
    columns = lines[0].split(",")
    table = [dict(zip(columns, line.split(","), strict=True)) for line in lines[1:]]
    for task, names in model.heads.items():
        written = [[float(row[f"{task}_probability_{name}"]) for name in names] for row in table]
        np.testing.assert_allclose(probabilities[task], written, atol=2e-6)
        guesses = [names[k] for k in np.asarray(probabilities[task]).argmax(-1)]
        assert guesses == [row[f"{task}_predicted"] for row in table]


def test_its_config_carries_names_preprocessing_provenance_and_licence(trained):
    described = json.loads((trained / "bundle" / "config.json").read_text())
    assert described["heads"]["gender"] == ["female", "male"]
    assert described["heads"]["age"][2] == "8-12"
    assert described["input"]["channels"] == "bgr"
    assert described["input"]["crop"] == 27
    assert described["source"]["fold"] == 0
    assert "Apache-2.0" in described["data"]["licence"]
    assert set(described["figures"]) == {"age", "gender"}


def test_the_card_states_figures_classes_and_limits(trained):
    card = (trained / "bundle" / "README.md").read_text()
    result = json.loads((trained / "result.json").read_text())
    exact = 100 * result["tasks"]["age"]["exact"]
    assert f"| age | 32 | {exact:.1f} % |" in card
    assert "0-2, 4-6, 8-12, 15-20, 25-32, 38-43, 48-53, 60-100" in card
    assert "Not for age verification" in card
    calibration = result["tasks"]["gender"]["calibration"]
    assert (
        f"expected calibration error {100 * calibration['ece']:.1f} % on the test faces without"
        f" scaling, {100 * calibration['ece_scaled']:.1f} % at temperature"
        f" {calibration['temperature']:.2f}, fitted on validation faces"
    ) in " ".join(card.split())
    assert not re.search(r"{{|{%", card)


def test_a_folder_without_a_bundle_is_refused(trained, tmp_path):
    with pytest.raises(InputError, match=r"not a bundle: config.json is absent"):
        load(tmp_path)
    (tmp_path / "config.json").write_text((trained / "bundle" / "config.json").read_text())
    with pytest.raises(InputError, match=r"not a bundle: model.safetensors is absent"):
        load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="cut short or not safetensors"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 99}')
    content = (trained / "bundle" / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="bundle format 99 is not known"):
        load(tmp_path)


def test_a_model_is_traced_once_per_batch_size_and_shared(tmp_path, monkeypatch):
    traced, make = [], model_module.make_predict

    def counting(*arguments, **how):
        predict = make(*arguments, **how)

        def counted(variables, images):
            traced.append(images.shape[0])
            return predict(variables, images)

        return counted

    monkeypatch.setattr(model_module, "make_predict", counting)
    model_module._compiled.cache_clear()
    path, faces = small_bundle.write(tmp_path), np.zeros((3, 32, 32, 3), np.uint8)
    first, second = load(path), load(path)
    for count in (1, 1, 3, 1):
        first(faces[:count])
    second(faces[:1])
    assert traced == [1, 3]
    first(faces[:1], crops="mirror")
    assert traced == [1, 3, 1]
    model_module._compiled.cache_clear()  # the next test's are not to be counted


def test_a_quick_answer_is_the_same_but_for_rounding(tmp_path):
    model = load(small_bundle.write(tmp_path))
    faces = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    expected, found = model(faces), model.answer(quick=True)(faces)
    assert list(found) == list(expected)
    for task in expected:
        np.testing.assert_allclose(found[task], expected[task], atol=1e-5)
