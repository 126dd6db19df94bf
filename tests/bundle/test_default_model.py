"""The default model: opened where none is named, its terms told once; and the one that is shipped."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

import ageflax
from ageflax import bundle
from ageflax.bundle import card as model_card
from ageflax.bundle import loading
from ageflax.errors import InputError
from ageflax.weights import shipped, transfer
from tests.support import default_model, small_bundle

SHIPPED = shipped.FOLDER
GOLDEN = Path(__file__).parents[1] / "golden" / "default_model.npz"
MOST_BYTES = 8_000_000

of_the_package = pytest.mark.skipif(
    not (SHIPPED / "model.safetensors").is_file(), reason="this checkout has no default model"
)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A small bundle in the default model's place."""
    return default_model.use(small_bundle.write(tmp_path / "default"), monkeypatch)


def test_it_is_opened_by_its_name_and_where_none_is_given(stand_in):
    for model in (
        ageflax.load(),
        bundle.load(),
        bundle.load("default"),
        loading.open_model("default"),
    ):
        assert model.members[0].path == stand_in
        assert model.name == str(stand_in)


def test_a_training_may_start_from_it(stand_in):
    loaded = transfer.load("default", model_name="levi_hassner", channels="bgr")
    assert loaded.provenance["source"].endswith("/default")
    assert loaded.provenance["licence"] == "By form, for research only."
    assert "params/trunk/conv1/kernel" in loaded.tensors


def test_a_folder_of_that_name_is_named_as_a_path(stand_in, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_bundle.write(tmp_path / "elsewhere" / "default")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert bundle.load("default").members[0].path == stand_in
    assert bundle.load("./default").members[0].path == Path("default")


def test_its_terms_are_told_once_with_their_file(stand_in, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="ageflax"):
        for _ in range(3):
            bundle.load()
        loading.open_model("default")
    assert caplog.messages == [
        f"default model: By form, for research only; terms: {stand_in / 'LICENSE'}"
    ]


def test_where_it_is_absent_one_line_says_so(tmp_path, monkeypatch):
    default_model.use(tmp_path, monkeypatch)
    for load in (bundle.load, lambda: loading.open_model("default")):
        with pytest.raises(InputError, match="default model: absent from this installation"):
            load()


@of_the_package
def test_the_shipped_one_is_small_and_complete():
    assert sorted(path.name for path in SHIPPED.iterdir() if path.name != "__pycache__") == [
        "LICENSE", "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    assert sum(path.stat().st_size for path in SHIPPED.iterdir() if path.is_file()) <= MOST_BYTES


@of_the_package
def test_the_shipped_one_states_terms_and_figures():
    config = json.loads((SHIPPED / "config.json").read_text())
    terms, card = ((SHIPPED / name).read_text() for name in ("LICENSE", "README.md"))
    assert "research only" in config["data"]["licence"]
    assert " ".join(terms.split("\n\n")[0].split()) == config["data"]["licence"]
    assert config["data"]["licence"] in card
    assert {"years", "gender"} <= config["heads"].keys()
    assert any(test["photographs"] for test in config["evaluations"])
    for group in ("| 0-5 |", "| female |", "| male |"):
        assert group in card
    # By python -m tests.golden.make_default_model, and never by hand.
    assert card == model_card.render(config)


@of_the_package
def test_the_shipped_one_answers_as_it_did():
    model = bundle.load()
    with np.load(GOLDEN, allow_pickle=False) as recorded:
        found = model(recorded["faces"], crops=str(recorded["crops"]))
        for task in model.heads:
            # Of other processors and versions of XLA.
            np.testing.assert_allclose(found[task], recorded[task], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(model.ages(found).years, recorded["ages"], rtol=1e-3)
