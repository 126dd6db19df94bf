"""Options beyond the paper's recipe, each through a whole small run."""

import csv
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from ageflax import config as configuration
from ageflax import report
from ageflax.bundle import ensemble, load
from ageflax.errors import InputError
from ageflax.training import cross_validation, loop
from tests.conftest import small_values

ADAM = ("--config.optim.name=adamw", "--config.optim.lr_multipliers=()")
FROZEN = "--config.transfer.frozen=('trunk/.*',)"


@pytest.fixture(autouse=True)
def promotion():
    """optax's Adam raises a float to its integer count, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def run(data_dir, small_faces, tmp_path):
    """Function that runs one fold of the small config with further options and gives its folder."""

    def start(*words: str, name: str = "run") -> Path:
        config = configuration.resolve(small_values(data_dir), ["--config.fold=0", *words])
        cross_validation.run(config, tmp_path / name, say=said.append)
        return tmp_path / name / "fold_0"

    said: list[str] = []
    start.said = said  # type: ignore[attr-defined]
    return start


def result(fold: Path) -> dict[str, Any]:
    return json.loads((fold / "result.json").read_text())


def log(fold: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (fold / "metrics.jsonl").read_text().splitlines()]


def predictions(fold: Path) -> list[dict[str, str]]:
    with (fold / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(fold: Path) -> dict[str, np.ndarray]:
    variables = load(fold / "bundle").variables
    leaves = jax.tree_util.tree_flatten_with_path(variables)[0]
    return {jax.tree_util.keystr(k, simple=True, separator="/"): np.asarray(v) for k, v in leaves}


@pytest.mark.parametrize("loss", ["label_distribution", pytest.param("l1", marks=pytest.mark.long)])
def test_years_reach_every_output(run, small_faces, loss):
    fold = run("--config.task=years+gender", f"--config.loss.years={loss}", *ADAM)
    figures = result(fold)["tasks"]["years"]
    assert figures["years"]["faces"] == len(predictions(fold)) == 32
    assert figures["years"]["mae"] < 100
    assert set(figures["per_class"]) == set(configuration.class_names(
        configuration.resolve(small_values(Path())))["age"])  # fmt: skip
    errors = [abs(float(r["years_true"]) - float(r["years_predicted"])) for r in predictions(fold)]
    assert np.mean(errors) == pytest.approx(figures["years"]["mae"], rel=1e-6)
    model = load(fold / "bundle")
    rows = [row for row in range(len(small_faces)) if small_faces.fold_of(row) == 0]
    faces = np.stack([model.prepare(e["image"]) for e in small_faces.examples(rows)])
    aged = model.ages(model(faces))
    np.testing.assert_allclose(
        aged.years, [float(r["years_predicted"]) for r in predictions(fold)], rtol=1e-4
    )
    np.testing.assert_allclose(aged.groups.sum(1), 1.0, rtol=1e-5)
    columns = predictions(fold)[0].keys()
    if loss == "l1":
        assert aged.std is None
        assert "years_probability_0" not in columns
    else:
        assert aged.std is not None
        np.testing.assert_allclose(
            aged.std, [float(r["years_deviation"]) for r in predictions(fold)], rtol=1e-3
        )
        assert "years_probability_100" in columns
    assert all("years_mae" in line for line in log(fold))
    assert "validation_years_mae" in log(fold)[-1]


def test_the_median_of_the_years_is_the_age_in_every_output(run):
    words = ("--config.task=years", "--config.loss.years=label_distribution", *ADAM)
    mean, median = (
        run(*words, f"--config.eval.age={reading}", name=reading) for reading in ("mean", "median")
    )
    assert [line["loss"] for line in log(mean)] == [line["loss"] for line in log(median)]
    rows = predictions(median)
    shares = np.array([[float(row[f"years_probability_{k}"]) for k in range(101)] for row in rows])
    upto = np.hstack([np.zeros((len(rows), 1)), np.cumsum(shares, 1)])
    expected = [np.interp(each[-1] / 2, each, np.arange(-0.5, 101)) for each in upto]
    found = np.array([float(row["years_predicted"]) for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    true = np.array([float(row["years_true"]) for row in rows])
    figures = result(median)
    assert figures["tasks"]["years"]["years"]["mae"] == pytest.approx(np.abs(found - true).mean())
    assert figures["protocol"]["age"] == "median"
    assert (
        result(mean)["tasks"]["years"]["years"]["mae"] != figures["tasks"]["years"]["years"]["mae"]
    )
    assert log(mean)[-1]["validation_years_mae"] != log(median)[-1]["validation_years_mae"]
    assert load(median / "bundle").description.reading == "median"


@pytest.mark.parametrize(
    "loss",
    ["coral", "label_distribution"]
    + [pytest.param(n, marks=pytest.mark.long) for n in ("mean_variance", "corn", "cross_entropy")],
)
def test_every_loss_of_age_groups_trains_and_gives_probabilities(run, loss):
    fold = run(f"--config.loss.age={loss}", "--config.loss.expectation=0.1", *ADAM)
    assert all(np.isfinite(line["loss"]) for line in log(fold))
    for row in predictions(fold):
        values = [float(value) for key, value in row.items() if "_probability_" in key]
        assert len(values) == 8
        assert sum(values) == pytest.approx(1.0, abs=1e-5)


def test_balance_parameters_move_and_are_logged_and_not_shipped(run):
    fold = run(
        "--config.task=joint", "--config.loss.balance=uncertainty",
        "--config.optim.learning_rate=0.01", *ADAM,
    )  # fmt: skip
    for task in ("age", "gender"):
        course = [line[f"{task}_log_variance"] for line in log(fold)]
        assert len(set(course)) == len(course)
    assert not [path for path in weights(fold) if "balance" in path]


def test_a_frozen_trunk_and_its_statistics_stay_as_they_were(run):
    start = run("--config.task=joint", name="first")
    fold = run(f"--config.transfer.weights={start}", FROZEN, "--config.optim.learning_rate=0.01")
    before, after = weights(start), weights(fold)
    trunk = [path for path in after if "/trunk/" in path]
    assert any(path.startswith("batch_stats/") for path in trunk)
    for path in trunk:
        np.testing.assert_array_equal(after[path], before[path], err_msg=path)
    assert (after["params/heads/age/kernel"] != before["params/heads/age/kernel"]).any()
    assert result(fold)["weights"]["sha256"]
    assert any("arrays transferred" in line for line in run.said)


def test_cached_features_train_the_head_that_pixels_would(run):
    """Without mirroring, and with the whole image as crop, both see the same views."""
    start = run("--config.data.crop=32", "--config.data.mirror=false", name="first")
    words = (
        f"--config.transfer.weights={start}", FROZEN, "--config.data.crop=32",
        "--config.data.mirror=false", "--config.optim.learning_rate=0.01",
    )  # fmt: skip
    pixels = run(*words, name="pixels")
    cached = run(*words, "--config.transfer.cache_features=true", name="cached")
    for path, array in weights(pixels).items():
        np.testing.assert_allclose(weights(cached)[path], array, rtol=2e-4, atol=1e-6, err_msg=path)
    for one, other in zip(log(pixels), log(cached), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_layers_thaw_at_their_step(run):
    words = (FROZEN, "--config.transfer.unfreeze=(('trunk/fc7/.*', 6),)", *ADAM)
    at_first = run(*words, "--config.steps=7", "--config.optim.learning_rate=0.0", name="zero")
    fold = run(*words, "--config.optim.learning_rate=0.001")
    before, after = weights(at_first), weights(fold)
    assert (after["params/trunk/fc7/kernel"] != before["params/trunk/fc7/kernel"]).any()
    for path in ("conv1", "conv3", "fc6"):
        name = f"params/trunk/{path}/kernel"
        np.testing.assert_array_equal(after[name], before[name])


def test_a_batch_in_parts_takes_the_step_of_the_whole(run):
    """Without batch norm, which sees each part alone."""
    words = ("--config.model.norm=none", "--config.model.dropout=0.0", "--config.task=joint",
             "--config.loss.balance=uncertainty", "--config.loss.class_weights=balanced",
             "--config.optim.learning_rate=1e-3")  # fmt: skip
    whole = run(*words, name="whole")
    parts = run(*words, "--config.optim.accumulate=4", name="parts")
    for one, other in zip(log(whole), log(parts), strict=True):
        for key in ("loss", "age_loss", "gender_loss", "age_log_variance"):
            assert one[key] == pytest.approx(other[key], rel=2e-4), key
    for path, array in weights(whole).items():
        np.testing.assert_allclose(weights(parts)[path], array, rtol=2e-3, atol=2e-5, err_msg=path)


def test_the_averaged_weights_are_what_is_tested_and_shipped(run):
    plain = run("--config.optim.learning_rate=0.001", name="plain")
    averaged = run("--config.optim.learning_rate=0.001", "--config.optim.ema=0.9", name="averaged")
    assert [line["loss"] for line in log(plain)] == [line["loss"] for line in log(averaged)]
    one, other = weights(plain), weights(averaged)
    assert (one["params/trunk/fc6/kernel"] != other["params/trunk/fc6/kernel"]).any()
    model = load(averaged / "bundle")
    assert float(predictions(averaged)[0]["age_probability_0-2"]) > 0
    assert set(model.heads) == {"age"}


def test_training_stops_when_validation_no_longer_improves_and_tests_the_best(run, monkeypatch):
    validate, ranks = loop._validate, {2: 0.3, 4: 0.9, 6: 0.9, 8: 0.2}

    def ranked(fold, state, placement):
        return validate(fold, state, placement)[0], ranks[int(state.step)]

    monkeypatch.setattr(loop, "_validate", ranked)
    words = ("--config.eval.checkpoint=best", "--config.eval.every=2", "--config.eval.patience=2",
             "--config.steps=40")  # fmt: skip
    fold = run(*words)
    assert result(fold)["steps"] == 8
    assert log(fold)[-1]["step"] == 8
    assert any("stopped at step 8 of 40" in line for line in run.said)
    # Without its result it resumes from its last checkpoint, which records that it stopped.
    (fold / "result.json").unlink()
    assert result(run(*words))["steps"] == 8


@pytest.mark.parametrize(
    ("chosen", "figures", "expected"),
    [
        ("auto", {"age": {"exact": 0.4}, "gender": {"exact": 0.8}}, 0.6),
        ("auto", {"years": {"exact": 0.4, "years": {"mae": 7.0}}, "gender": {"exact": 0.8}}, -7.0),
        ("mae", {"age": {"exact": 0.4, "years": {"mae": 9.0}}}, -9.0),
        ("one_off", {"age": {"exact": 0.4, "one_off": 0.9}, "gender": {"exact": 0.8}}, 0.9),
        ("exact", {"age": {"exact": None}}, None),
        ("mae", {"gender": {"exact": 0.8}}, None),
    ],
)
def test_the_figure_that_ranks_checkpoints(chosen, figures, expected):
    assert loop.ranking(figures, chosen) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(
            ("--config.data.mixup=0.4", "--config.data.cutmix=0.4"), marks=pytest.mark.long
        ),
        ("--config.data.rotation=10", "--config.data.zoom=0.1", "--config.data.erasing=0.5",
         "--config.data.brightness=0.2", "--config.data.contrast=0.2", "--config.data.saturation=0.3"),
        ("--config.data.shift=0.1", "--config.data.shade=0.3", "--config.data.gamma=0.3", "--config.data.grey=0.2",
         "--config.data.blur=1", "--config.data.downscale=2", "--config.data.noise=5", "--config.data.jpeg=30"),
    ],
)  # fmt: skip
def test_augmentations_train_and_resume_to_the_bit(run, words):
    straight = run(*words, name="straight")
    run(*words, "--config.steps=8", name="resumed")
    folder = straight.parent.parent / "resumed" / "fold_0"
    latest = max((folder / "checkpoints").iterdir(), key=lambda path: path.name)
    (folder / "result.json").unlink()
    # Without its last checkpoint, the run resumes from step 4.
    for path in sorted(latest.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    latest.rmdir()
    run(*words, "--config.steps=8", name="resumed")
    assert (folder / "predictions.csv").read_bytes() == (straight / "predictions.csv").read_bytes()


def test_a_share_of_the_training_subjects(run):
    whole = run("--config.steps=2", name="whole")
    half = run("--config.steps=2", "--config.data.train_share=0.5", name="half")
    few = result(half)["faces"]
    assert 0.4 < few["train"] / result(whole)["faces"]["train"] < 0.6
    assert few["test"] == result(whole)["faces"]["test"]
    assert few["validation"] == result(whole)["faces"]["validation"]


@pytest.mark.parametrize("between", [False, True])
def test_weights_that_saw_the_test_faces_are_refused(between, run, data_dir, tmp_path):
    start = run("--config.steps=2", name="first")
    if between:  # trained on other data since; faces seen before count as well
        path = start / "bundle" / "config.json"
        described = json.loads(path.read_text())
        before = {"fingerprint": described["data"]["fingerprint"], "fold": 0, "before": None}
        described["source"] |= {"fold": 3, "weights": {"trained_on": before}}
        described["data"]["fingerprint"] = "other data"
        path.write_text(json.dumps(described))
    config = configuration.resolve(
        small_values(data_dir), ["--config.fold=1", f"--config.transfer.weights={start}"]
    )
    with pytest.raises(InputError, match=r"have seen the faces of fold 1; run fold 0 alone"):
        cross_validation.run(config, tmp_path / "second", say=lambda line: None)


def test_each_fold_starts_from_another_runs_fold_of_its_own_number(data_dir, small_faces, tmp_path):
    def run(folds: str, folder: str, *words: str):
        given = [f"--config.folds={folds}", "--config.steps=2", *words]
        config = configuration.resolve(small_values(data_dir), given)
        cross_validation.run(config, tmp_path / folder, say=lambda line: None)

    run("(0, 1)", "base")
    word = f"--config.transfer.weights={tmp_path / 'base'}/fold_{{fold}}"
    run("(1,)", "tuned", word)  # fold by fold, as in a pipeline
    run("(0, 1)", "tuned", word)
    for fold in (0, 1):
        weights = result(tmp_path / "tuned" / f"fold_{fold}")["weights"]
        assert weights["trained_on"]["fold"] == fold
        assert weights["source"].endswith(f"fold_{fold}/bundle")
    record = json.loads((tmp_path / "tuned" / "config.json").read_text())
    assert record["weights"] == {"source": f"{tmp_path / 'base'}/fold_{{fold}}", "sha256": None}
    report.write(tmp_path / "tuned")
    page = (tmp_path / "tuned" / "report.html").read_text()
    assert "fold_{fold}: a file for each fold" in page


def test_the_folds_as_one_model_average_their_probabilities(data_dir, small_faces, tmp_path):
    config = configuration.resolve(
        small_values(data_dir), ["--config.folds=(0, 1)", "--config.steps=2"]
    )
    cross_validation.run(config, tmp_path, say=lambda line: None)
    together = ensemble(tmp_path)
    faces = np.stack([together.prepare(e["image"]) for e in small_faces.examples([0, 1, 2])])
    each = [load(tmp_path / f"fold_{k}" / "bundle")(faces)["age"] for k in (0, 1)]
    np.testing.assert_allclose(together(faces)["age"], np.mean(each, axis=0), rtol=1e-6)
    with pytest.raises(InputError, match=r"bundle\.ensemble"):
        load(tmp_path)
    with pytest.raises(InputError, match="not a run with a finished fold"):
        ensemble(tmp_path / "fold_0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config.transfer.frozen=('trunk/conv9/.*',)"], "matches no parameter"),
        (["--config.transfer.frozen=('.*',)"], "every parameter is frozen"),
        (["--config.transfer.frozen=('trunk/(',)"], "is not a regular expression"),
        (
            [FROZEN, "--config.transfer.unfreeze=(('trunk/fc7/.*', 8),)"],
            "step 8 is not before the end of training",
        ),
        (
            ["--config.transfer.frozen=('trunk/fc7/.*',)", "--config.transfer.cache_features=1"],
            "part of the trunk is not frozen",
        ),
        (["--config.transfer.weights=nothing.safetensors"], "no such file"),
        (
            [
                "--config.data.label_policy=intervals",
                "--config.data.intervals=((120, 125), (126, 130))",
            ],
            "task age: no face of .* has a label for it",
        ),
        (
            ["--config.loss.years=l1", "--config.task=years", "--config.loss.expectation=1"],
            "loss.years",
        ),
    ],
)
def test_what_cannot_be_trained_is_told(run, words, message):
    with pytest.raises(InputError, match=message) as caught:
        run(*words)
    assert "\n" not in str(caught.value)
