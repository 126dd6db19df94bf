"""Invalid config.json of bundles: each refused in one line."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ageflax import bundle
from ageflax.bundle import evaluations, loading, model
from ageflax.bundle.description import Description
from ageflax.errors import InputError
from tests.support import small_bundle

TESTED = {"data": {}, "protocol": {}, "weights": {}, "tasks": {}}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return small_bundle.write(tmp_path_factory.mktemp("original") / "bundle")


def refused(original, tmp_path, text) -> str:
    """Error message of loading the same weights with another config.json."""
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.safetensors").write_bytes((original / "model.safetensors").read_bytes())
    with pytest.raises(InputError) as caught:
        bundle.load(tmp_path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 700
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not readable JSON"),
        ("[" * 100_000, "not readable JSON: brackets without end"),
        ('{"a":' * 100_000, "not readable JSON: brackets without end"),
        ('{"format": 2, "format": 1}', "not readable JSON: a key is given twice"),
        ('{"format": ' + "9" * 10_000 + "}", "not readable JSON"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{}", "bundle format None is not known"),
        ('{"format": true}', "bundle format True is not known"),
        ('{"format": "%s"}' % ("x" * 100_000), "is not known"),
        ('{"format": [2]}', "is not known"),
        ('{"format": 2}', "its config is damaged: heads: expected the class names of each task"),
    ],
)
def test_what_is_no_description(original, tmp_path, text, message):
    assert message in refused(original, tmp_path, text)


# Changed groups of config.json.
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architecture": {"width": 1e9}},
            "model.width = 1000000000.0: must be between 0.01 and 16",
        ),
        ({"architecture": {"width": float("nan")}}, "model.width = nan: must be between"),
        ({"architecture": {"width": float("inf")}}, "model.width = inf: must be between"),
        (
            {"architecture": {"width": "9" * 1_000_000}},
            "an option is not a number, short string or short",
        ),
        ({"architecture": {"width": [[[1.0]]]}}, "model.width = (((1.0,),),): expected float"),
        ({"architecture": {"width": {"a": 1}}}, "an option is not a number, short string or short"),
        ({"architecture": {"width": True}}, "model.width = True: expected float"),
        ({"architecture": {"width": 15.0}}, "weights do not fit the architecture"),
        ({"architecture": {"depth": 12}}, "model.depth: levi_hassner has no such option"),
        ({"architecture": {"wdth": 1.0}}, "unknown key 'model.wdth'; did you mean 'model.width'?"),
        ({"architecture": {"x.y": 1.0}}, "its config is damaged"),
        ({"architecture": {"name": "../../x"}}, "model.name = '../../x': not a choice"),
        ({"architecture": {"dtype": "object"}}, "model.dtype = 'object': not a choice"),
        ({"architecture": {"head_hidden": [10**9]}}, "must be between 1 and 65536"),
        ({"architecture": {"head_hidden": [8] * 99}}, "more than 16 hidden layers"),
        ({"architecture": {"head_hidden": [8] * 10_000}}, "an option is not a number"),
        ({"loss": {"age": "exec"}}, "loss.age = 'exec': not a choice"),
        ({"loss": {"deviation": -1.0}}, "loss.deviation = -1.0: must be between"),
        ({"input": {"resize": 10**9}}, "data.resize = 1000000000: must be between 8 and 4096"),
        ({"input": {"resize": -1}}, "data.resize = -1: must be between"),
        ({"input": {"resize": "32"}}, "data.resize = '32': expected int"),
        ({"input": {"crop": 33}}, "data.crop = 33 is larger than data.resize = 32"),
        ({"input": {"crop": 27.5}}, "data.crop = 27.5: expected int"),
        ({"input": {"channels": "grey"}}, "weights do not fit the architecture"),
        ({"input": {"channels": "cmyk"}}, "data.channels = 'cmyk': not a choice"),
        ({"input": {"interpolation": "\x1b[2J"}}, "data.interpolation"),
        ({"calibration": {"age": float("inf")}}, "calibration: age: inf is not a temperature"),
        ({"calibration": {"age": float("nan")}}, "calibration: age: nan is not a temperature"),
        ({"protocol": {"most_frontal": "all"}}, "protocol: most_frontal is not an integer"),
    ],
)
def test_a_group_that_no_config_has(original, tmp_path, changes, message):
    described = json.loads((original / "config.json").read_text())
    for group, values in changes.items():
        described[group] |= values
    assert message in refused(original, tmp_path, json.dumps(described))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": []}, "architecture: expected options by name"),
        ({"input": []}, "input: expected resize, crop, interpolation, channels"),
        ({"loss": 3}, "loss: expected options by name"),
        ({"age_interval": []}, "age_interval: expected an object"),
        (
            {"age_interval": {"task": "gender"}},
            "age_interval: task: 'gender' is not a head for ages",
        ),
        ({"age_interval": {"task": "years"}}, "age_interval: task: 'years' is not a head for ages"),
        ({"age_interval": {"task": ["age"]}}, "age_interval: task: ['age'] is not a head"),
        ({"age_interval": {"task": "age", "crops": "x" * 1_000_000}}, "age_interval: crops: 'xxx"),
        (
            {"age_interval": {"task": "age", "crops": "center", "levels": [2.0]}},
            "age_interval: levels: expected ascending shares",
        ),
        (
            {"age_interval": {"task": "age", "crops": "center", "levels": [0.8], "centres": [0.5]}},
            "age_interval: centres: expected a list of 8 numbers",
        ),
        ({"heads": {}}, "a trunk without heads, which can only start a training"),
        ({"heads": {"exec": ["a"]}}, "heads: 'exec' is not one of age, years, gender"),
        ({"heads": {"x" * 1_000_000: ["a"]}}, "is damaged: heads: 'xxx"),
        (
            {"heads": {"gender": ["male", "female"]}},
            "heads: gender: expected the 2 classes female, male",
        ),
        ({"heads": {"gender": ["x" * 1_000_000, "male"]}}, "heads: gender: expected the 2 classes"),
        ({"heads": {"gender": "female"}}, "heads: gender: expected the 2 classes"),
        ({"heads": {"gender": ["female", "male"]}}, "weights do not fit the architecture"),
        ({"storage": 8}, "storage: expected an object with a precision of float32, float16, int8"),
        ({"storage": {}}, "storage: expected an object with a precision"),
        ({"storage": {"precision": "int4"}}, "storage: expected an object with a precision"),
        ({"storage": {"precision": ["int8"]}}, "storage: expected an object with a precision"),
        ({"evaluations": {}}, "evaluations: expected a list of at most 100"),
        ({"evaluations": [{}] * 101}, "evaluations: expected a list of at most 100"),
        ({"evaluations": [3]}, "evaluations: expected objects"),
        ({"evaluations": [{}]}, "evaluations: data: None is of another type"),
        ({"evaluations": [TESTED | {"tasks": []}]}, "evaluations: tasks: [] is of another type"),
        ({"evaluations": [TESTED | {"folds": "x" * 9999}]}, "evaluations: folds: 'xxx"),
        ({"evaluations": [TESTED | {"photographs": 3}]}, "evaluations: photographs: 3 is of"),
        ({"age_groups": [[0, 10**30]]}, "age_groups: [0, 1"),
        ({"age_groups": [[k, k] for k in range(5000)]}, "age_groups: expected [low, high] pairs"),
        ({"age_groups": [[5, 9], [0, 4]]}, "age_groups: [0, 4]: expected [low, high], each above"),
        ({"age_groups": [[0, float("nan")]]}, "age_groups: [0, nan]: expected"),
        ({"age_groups": "0-99"}, "age_groups: expected [low, high] pairs"),
        ({"crop_margin": "wide"}, "crop_margin: expected a share of the face's side"),
        ({"crop_margin": 1e9}, "crop_margin: expected a share of the face's side"),
        ({"crop_margin": float("nan")}, "crop_margin: expected a share of the face's side"),
        ({"eyes": [0.3, 0.4]}, "eyes: expected [[x, y], [x, y]] as fractions"),
        ({"eyes": [[0.3, 0.4], [0.7, float("inf")]]}, "eyes: expected [[x, y], [x, y]]"),
        ({"eyes": [[0.3, 0.4]]}, "eyes: expected [[x, y], [x, y]]"),
        ({"eyes": [[0.3, 0.4], [0.3, 0.4]]}, "eyes: expected the eye on the left first"),
        ({"eyes": [[0.7, 0.4], [0.3, 0.4]]}, "eyes: expected the eye on the left first"),
        ({"estimated_age": "mode"}, "eval.age = 'mode': not a choice"),
        ({"estimated_age": 3}, "eval.age = 3"),
        ({"estimated_age": "median"}, "eval.age = 'median': needs a distribution over years"),
        ({"data": "Adience"}, "data: expected an object"),
        ({"source": [1]}, "source: expected an object"),
        ({"figures": "good"}, "figures: expected an object"),
    ],
)
def test_a_key_of_another_kind(original, tmp_path, changes, message):
    described = json.loads((original / "config.json").read_text()) | changes
    assert message in refused(original, tmp_path, json.dumps(described))


def test_each_key_may_be_absent_or_is_missed_in_one_line(original, tmp_path):
    described = json.loads((original / "config.json").read_text())
    for key in described:
        rest = {name: value for name, value in described.items() if name != key}
        (tmp_path / "config.json").write_text(json.dumps(rest))
        (tmp_path / "model.safetensors").write_bytes((original / "model.safetensors").read_bytes())
        if key in ("format", "heads", "input", "architecture"):
            with pytest.raises(InputError, match=re.escape(str(tmp_path))) as caught:
                bundle.load(tmp_path)
            assert len(str(caught.value).splitlines()) == 1
        else:
            assert bundle.load(tmp_path).heads["gender"] == ("female", "male")


def test_whatever_the_network_raises_is_one_line(original, tmp_path, monkeypatch):
    def network_of(*arguments):
        raise ZeroDivisionError("a stride\nof zero")

    monkeypatch.setattr(model, "network_of", network_of)
    loading.shapes_of.cache_clear()
    text = (original / "config.json").read_text()
    assert "no network can be built from it: a stride of zero" in refused(original, tmp_path, text)


def test_what_an_older_one_lacks_is_added():
    config = {"heads": {"gender": ["female", "male"]}, "architecture": {"name": "vgg16"}}
    config["input"] = {"resize": 256, "crop": 224, "interpolation": "area", "channels": "rgb"}
    config |= {"data": None, "figures": {}}
    found = Description.from_json(config, "here")
    assert (found.crop_margin, found.eyes) == (0.0, None)
    assert found.data == found.source == found.protocol == found.calibration == {}
    assert found.intervals[0] == (0, 2)
    assert found.architecture["dropout"] == 0.5


def test_the_reading_of_ages_is_kept(tmp_path):
    path = small_bundle.write(tmp_path / "bundle", "years")
    described = json.loads((path / "config.json").read_text())
    assert "estimated_age" not in described
    (path / "config.json").write_text(json.dumps(described | {"estimated_age": "median"}))
    found = bundle.load(path)
    assert found.description.reading == found.description.classes("years").reading == "median"
    assert found.description.to_json()["estimated_age"] == "median"
    with pytest.raises(InputError, match="its estimated_age differ from those of"):
        bundle.ensemble([path, small_bundle.write(tmp_path / "other", "years")])


def test_age_groups_of_ones_own_are_kept(tmp_path):
    config = {"heads": {"age": ["0-12", "13-99"]}, "age_groups": [[0, 12], [13, 99]]}
    config["input"] = {"resize": 32, "crop": 27, "interpolation": "area", "channels": "rgb"}
    assert Description.from_json(config, "here").classes("age").names == ("0-12", "13-99")
    config["heads"] = {"age": ["0-12", "13-100"]}
    with pytest.raises(
        InputError, match=r"here: its config is damaged: heads: age: expected the 2"
    ):
        Description.from_json(config, "here")


@given(st.recursive(st.none() | st.floats() | st.text() | st.booleans(), lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["years", "ranges", "gender", "age", "groups", "bands",
                                       "intervals", "exact", "mae", "faces", "x"]), inner)
)))  # fmt: skip
def test_a_card_is_made_of_any_figures_of_further_tests(figures):
    tested = TESTED | {"tasks": {"years": figures, "age": figures, "gender": figures}}
    found = evaluations.tables(tested)
    assert set(found) <= {"years", "ranges", "age", "gender"}


@given(st.recursive(st.none() | st.floats() | st.text() | st.integers(), lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["groups", "all", "13-17", "faces", "thresholds", "share",
                                       "challenge", "intervals"]), inner)
)))  # fmt: skip
def test_who_passes_as_of_age_is_read_from_any_figures(figures):
    assert evaluations.of_age({"of_age": figures}) == [] or "groups" in figures
