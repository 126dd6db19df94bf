"""README.md of a bundle, read in the hub's way."""

import json

import numpy as np
import pytest
from huggingface_hub import ModelCard

from ageflax import metrics
from ageflax.bundle.card import add_summary
from tests.support import small_bundle

YEARS = {"faces": 90, "mae": 5.125, "cs5": 0.5, "bands": {"0-12": {"faces": 0, "mae": None},
         "13-17": {"faces": 90, "mae": 4.25}}}  # fmt: skip
CLASSES = {"female": {"faces": 40, "recall": 0.75}, "male": {"faces": 0, "recall": None}}
FIGURES = {
    "gender": {"faces": 90, "exact": 0.875, "majority_floor": 0.5, "per_class": CLASSES},
    "age": {"faces": 80, "exact": 0.5, "one_off": 0.75, "majority_floor": None, "years": YEARS,
            "calibration": {"ece": 0.0625, "ece_scaled": 0.03125}},
}  # fmt: skip


def words(path) -> str:
    return " ".join((path / "README.md").read_text().split())


def test_its_front_matter_is_what_the_hub_wants(tmp_path):
    small_bundle.write(tmp_path, figures=FIGURES)
    data = ModelCard.load(tmp_path / "README.md").data.to_dict()
    assert (data["license"], data["license_name"]) == ("other", "terms-of-the-training-data")
    assert data["library_name"] == "ageflax"
    assert data["pipeline_tag"] == "image-classification"
    assert {"age-estimation", "gender-classification", "levi_hassner"} <= set(data["tags"])
    assert data["metrics"] == ["accuracy", "mae", "one_off_accuracy"]
    (index,) = data["model-index"]
    (result,) = index["results"]
    assert {metric["name"]: metric["value"] for metric in result["metrics"]} == {
        "gender: accuracy": 0.875,
        "age: accuracy": 0.5,
        "age: mae": 5.125,
        "age: one_off_accuracy": 0.75,
    }
    assert result["task"]["name"] == "age and gender from a face"
    assert (result["dataset"]["type"], result["dataset"]["split"]) == ("adience", "fold_2")


def test_it_claims_no_split_by_subject_of_data_without_subjects(tmp_path):
    claim = "No subject of the test fold is in the training folds."
    small_bundle.write(tmp_path / "given", figures=FIGURES)
    assert claim in words(tmp_path / "given")
    data = {
        "name": "mine",
        "licence": None,
        "subjects": {"given": "none", "notice": "nobody is named"},
    }
    small_bundle.write(tmp_path / "unknown", figures=FIGURES, data=data)
    assert claim not in words(tmp_path / "unknown")
    assert "weights of the last checkpoint. Nobody is named." in words(tmp_path / "unknown")


@pytest.mark.parametrize(
    ("licence", "expected"),
    [("Apache-2.0", "apache-2.0"), (None, "unknown"), ("Mine: no", "other")],
)
def test_its_licence_is_that_of_the_data(licence, expected, tmp_path):
    small_bundle.write(tmp_path, data={"name": "x: y", "licence": licence})
    assert ModelCard.load(tmp_path / "README.md").data.to_dict()["license"] == expected


def test_it_states_figures_calibration_classes_and_framing(tmp_path):
    eyes = ((0.31, 0.4), (0.69, 0.4))
    small_bundle.write(tmp_path, figures=FIGURES, calibration={"age": 1.5}, eyes=eyes)
    card = words(tmp_path)
    assert "6,290 parameters, trained with ageflax" in card
    assert "| gender | 90 | 87.5 % | - | 50.0 % |" in card
    assert "| age | 80 | 50.0 % | 75.0 % | - |" in card
    assert 'Recall per class of "gender": female: 75.0 % of 40.' in card
    assert "mean absolute error 5.12 years, 50.0 % within five years. By age: 13-17: 4.2" in card
    assert "calibration error 6.2 % on the test faces without scaling, 3.1 % at" in card
    assert (
        "left lies at (31 %, 40 %) of its width and height, and the one on its right at (69 %"
        in card
    )
    assert "children and the elderly" in card
    assert "By form, for research only." in card


def test_the_crops_margin_is_in_it(tmp_path):
    small_bundle.write(tmp_path, crop_margin=0.4)
    assert "with 40 % of that side added on each side." in words(tmp_path)


def test_of_a_run_every_fold_is_stated_in_each(tmp_path):
    tasks = {
        "age": {"exact": {"mean": 0.5, "std": 0.1, "folds": [0.4, 0.6]}, "faces": 9,
                "mae": {"mean": 5.0, "std": None, "folds": [5.0, None]}},
        "gender": {"exact": {"mean": None, "std": None, "folds": [None, None]}},
    }  # fmt: skip
    for fold in (0, 3):
        small_bundle.write(tmp_path / f"fold_{fold}" / "bundle", figures=FIGURES)
    add_summary(tmp_path, {"folds": [0, 3], "tasks": tasks})
    for fold in (0, 3):
        folder = tmp_path / f"fold_{fold}" / "bundle"
        card = words(folder)
        assert "| task | figure | fold 0 | fold 3 | mean |" in card
        assert "| age | exact | 40.0 % | 60.0 % | 50.0 % ± 10.0 % |" in card
        assert "| age | mean absolute error | 5.00 years | - | 5.00 years |" in card
        assert "| gender | exact |" not in card
        described = json.loads((folder / "config.json").read_text())
        assert described["cross_validation"]["folds"] == [0, 3]
        assert described["cross_validation"]["tasks"]["age"]["mae"]["mean"] == 5.0
        assert sorted(path.name for path in folder.iterdir()) == [
            "README.md",
            "config.json",
            "model.safetensors",
        ]


def test_a_bundle_that_was_taken_away_stays_away(tmp_path):
    small_bundle.write(tmp_path / "fold_0" / "bundle")
    add_summary(tmp_path, {"folds": [0, 1], "tasks": {}})
    assert not (tmp_path / "fold_1").exists()


def test_of_imported_weights_little_is_known_and_the_card_says_so(tmp_path):
    origin = {"format": "caffe", "file": "age_net.caffemodel", "sha256": "ab" * 32}
    small_bundle.write(
        tmp_path,
        data={},
        figures={},
        protocol={},
        calibration={},
        source={"ageflax": "0.1.0", "imported_from": origin},
    )
    card = words(tmp_path)
    assert (
        "6,290 parameters, imported with ageflax 0.1.0 from `age_net.caffemodel` (caffe, sha256"
        " abababababababab)." in card
    )
    assert "None were measured by this project." in card
    assert "The terms of the data, which the weights inherit, are not recorded." in card
    assert "None" not in card.replace("None were measured", "").replace("face[None]", "")
    assert ModelCard.load(tmp_path / "README.md").data.to_dict()["license"] == "unknown"


ERRORS = {"faces": 30, "mae": 4.5, "cs5": 0.66, "bias": -0.25}
PHOTOGRAPHS = {"answered": 29, "no_face": 2}


def evaluation(**changes):
    return {
        "data": {"name": "elsewhere"},
        "protocol": {"crops": "mirror"},
        "weights": {"sha256": "a" * 64, "own": True},
        "faces": 30,
        "tasks": {},
    } | changes


def test_further_tests_are_tables_by_band_and_gender(tmp_path):
    grouped = {"gender": {"female": ERRORS, "male": ERRORS | {"faces": 0}}}
    ages = {"years": ERRORS | {"bands": {"0-5": ERRORS | {"mae": 1.25}}}, "groups": grouped,
            "intervals": {"mae": [4.0, 5.0], "cs5": [None, None], "level": 0.95}}  # fmt: skip
    ranges = {"outside": 3.0, "inside": 0.5, "bias": 1.0, "faces": 29, "intervals": {},
              "groups": {"age": {"70+": {"faces": 4, "outside": 7.0}}, "gender": {}}}  # fmt: skip
    small_bundle.write(
        tmp_path,
        evaluations=(
            evaluation(folds=[0, 3], tasks={"years": ages}),
            evaluation(photographs=PHOTOGRAPHS, detector="haar", tasks={"age": {"ranges": ranges}}),
            evaluation(weights={"sha256": None, "own": False}),
        ),
    )
    card = (tmp_path / "README.md").read_text()
    assert '### elsewhere: fold 0, 3\n\n30 faces; crops "mirror".\n' in card
    assert (
        "| Age, of faces whose age is known | faces | mean absolute error, years | within" in card
    )
    assert "| all | 30 | 4.50 [4.00, 5.00] | 66.0 % | -0.2 |" in card
    assert "| 0-5 | 30 | 1.25 | 66.0 % | -0.2 |\n| female | 30 | 4.50 |" in card
    assert "| male |" not in card  # nobody
    assert "### elsewhere: whole photographs, faces found by haar" in card
    assert "29 photographs with a face, which the figures count, and 2 in which none was" in card
    assert "| all | 29 | 3.00 | 50.0 % | +1.0 |\n| 70+ | 4 | 7.00 | - | - |" in card
    assert card.count("Measured on another model, sha256 None.") == 1
    assert "unlike its training data is unknown" not in card
    assert "None were measured" not in card


def test_who_passes_as_of_age_is_a_small_table_that_proves_nothing(tmp_path):
    ages = np.array([16.0, 20.0])
    of_age = metrics.of_age(
        np.stack([ages, ages], 1), ages, None, genders=np.array([0, 1]), subjects=np.arange(2)
    )
    small_bundle.write(
        tmp_path,
        figures={"age": FIGURES["age"] | {"of_age": of_age}},
        evaluations=(evaluation(tasks={"years": {"of_age": of_age}, "gender": {"of_age": "?"}}),),
    )
    card = (tmp_path / "README.md").read_text()
    table = """
| 18 or older? | 13-17 passed, % | female | 18-24 challenged, % |
|---|---|---|---|
| faces | 1 | 1 | 1 |
| age >= 18 | 0.0 [0.0, 97.5] | 0.0 | 0.0 [0.0, 97.5] |
| age >= 21 | 0.0 [0.0, 97.5] | 0.0 | 100.0 [2.5, 100.0] |
"""
    assert card.count(table) == 2
    assert "No threshold proves an age, on its own or in law" in card
    small_bundle.write(tmp_path / "without", figures=FIGURES)
    assert "18 or older?" not in words(tmp_path / "without")


def test_the_storage_and_the_estimated_age_are_in_it(tmp_path):
    storage = {"precision": "int8", "images": "8 images", "largest": {"age": 0.125, "x": "y"}}
    small_bundle.write(tmp_path, storage=storage, reading="median")
    card = words(tmp_path)
    assert (
        "The weights are stored as int8, and computed in float32. Largest differences from float32,"
        " 8 images: age 0.12 years." in card
    )
    assert "The file LICENSE beside this card has the terms." in card
    assert "The estimated age is the median of the distribution over years." in card
