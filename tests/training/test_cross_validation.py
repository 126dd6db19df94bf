import csv
import json
import shlex
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from ageflax import config as configuration
from ageflax.bundle import load
from ageflax.data import dataset, reading
from ageflax.data.dataset import Faces
from ageflax.errors import InputError, RunError
from ageflax.runtime import files
from ageflax.runtime.mesh import make_mesh
from ageflax.training import cross_validation, log_lines, loop
from tests.conftest import SMALL_FACES, small_values


def run(config: ConfigDict, workdir: Path, *overrides: str) -> list[str]:
    """Runs and returns the lines printed."""
    lines: list[str] = []
    resolved = configuration.resolve(config, overrides)
    cross_validation.run(resolved, workdir, say=lines.append)
    return lines


def metrics_of(fold: Path) -> list[dict]:
    return [json.loads(line) for line in (fold / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_dir, small_faces):
    """A finished run of folds 0 and 3, read-only, and its config."""
    workdir = tmp_path_factory.mktemp("finished")
    values = small_values(data_dir)
    run(values, workdir, "--config.folds=(0, 3)", "--config.task=joint")
    return workdir, values


def test_a_run_leaves_its_files(finished):
    workdir, _ = finished
    for fold in (0, 3):
        left = workdir / f"fold_{fold}"
        assert json.loads((left / "result.json").read_text())["fold"] == fold
        assert [line["step"] for line in metrics_of(left)] == [2, 4, 6, 8]
        assert {"epoch", "loss", "learning_rate", "images_per_second"} <= metrics_of(left)[0].keys()
        assert "validation_age_exact" in metrics_of(left)[1]
        assert sorted(path.name for path in (left / "bundle").iterdir()) == [
            "README.md", "config.json", "model.safetensors",
        ]  # fmt: skip
        assert list((left / "tensorboard").glob("events.out.tfevents.*"))
        assert {"4", "8"} <= {path.name for path in (left / "checkpoints").iterdir()}
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["folds"] == [0, 3]
    assert set(summary["tasks"]) == {"age", "gender"}
    assert {"exact", "one_off", "mae", "cs5", "majority_floor"} <= summary["tasks"]["age"].keys()
    described = json.loads((workdir / "config.json").read_text())
    assert described["config"]["task"] == "joint"
    assert described["versions"]["jax"] == jax.__version__
    assert sum(described["devices"].values()) == 4


def test_every_test_face_is_predicted_exactly_once(finished, small_faces):
    workdir, _ = finished
    examples = small_faces.examples(range(len(small_faces)))
    for fold in (0, 3):
        expected = [
            example["key"].decode()
            for row, example in enumerate(examples)
            if small_faces.fold_of(row) == fold
        ]
        lines = (workdir / f"fold_{fold}" / "predictions.csv").read_text().splitlines()
        assert lines[0].startswith(
            "key,subject,age_true,age_predicted,age_years_true,"
            "age_years_predicted,age_probability_0-2,"
        )
        assert lines[0].endswith(",gender_true,gender_predicted,gender_probability_female,"
                                 "gender_probability_male")  # fmt: skip
        assert [line.split(",")[0] for line in lines[1:]] == expected
        result = json.loads((workdir / f"fold_{fold}" / "result.json").read_text())
        assert result["tasks"]["age"]["faces"] == len(expected)


def test_errors_under_other_framing_are_measured_on_validation_faces(finished):
    workdir, _ = finished
    result = json.loads((workdir / "fold_0" / "result.json").read_text())
    described = json.loads((workdir / "fold_0" / "bundle" / "config.json").read_text())
    assert described["framing_errors"] == result["framing_errors"]
    assert result["framing_errors"]["faces"] == result["faces"]["validation"]
    assert result["framing_errors"]["errors"].keys() == {"age_group", "gender"}


def test_a_finished_fold_is_not_redone(finished, tmp_path):
    workdir, values = finished
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    shutil.rmtree(copy / "fold_0" / "checkpoints")
    before = (copy / "fold_0" / "result.json").read_bytes()
    lines = run(values, copy, "--config.folds=(0, 3)", "--config.task=joint")
    assert lines == ["fold 0 is done", "fold 3 is done"]
    assert (copy / "fold_0" / "result.json").read_bytes() == before


def test_another_config_in_the_same_folder_is_refused_with_the_differing_keys(finished):
    workdir, values = finished
    with pytest.raises(InputError) as error:
        run(values, workdir, "--config.task=joint", "--config.seed=1", "--config.steps=9")
    assert "differing: seed: 0 -> 1; steps: 8 -> 9" in str(error.value)


def test_more_steps_are_refused_with_the_command_that_trains_on(finished):
    workdir, values = finished
    words = ["--config.folds=(0, 3)", "--config.task=joint", "--config.steps=12"]
    command = ["python", "-m", "ageflax.main", "--workdir", str(workdir), *words]
    with pytest.raises(InputError) as error:
        resolved = configuration.resolve(values, words)
        cross_validation.run(resolved, workdir, say=print, command=command)
    told = str(error.value)
    assert told.startswith(
        f"{workdir} holds a run with another config; differing: steps: 8 -> 12; "
    )
    assert "finish it" not in told
    program, _, module, *options = shlex.split(told.partition(" by: ")[2])
    assert (program, module) == ("python", "ageflax.main")
    on = Path(options.pop().removeprefix("--workdir="))
    assert on == workdir.with_name(f"{workdir.name}_12_steps")
    lines = run(values, on, *options)
    for fold in (0, 3):
        source = f"{workdir.name}/fold_{fold}/bundle: "
        assert next(line for line in lines if line.startswith(source)).endswith(", 0 initialized")
    assert json.loads((on / "fold_3" / "result.json").read_text())["steps"] == 4


def test_more_steps_of_an_unfinished_run_say_to_finish_it_first(finished):
    workdir, values = finished
    with pytest.raises(InputError, match="so finish it with steps = 8, then train its models on"):
        run(values, workdir, "--config.task=joint", "--config.steps=12")


def test_a_record_of_an_earlier_version_lacks_keys_and_the_run_goes_on(finished, tmp_path):
    workdir, values = finished
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    record = json.loads((copy / "config.json").read_text())
    for group, key in (("data", "erasing"), ("optim", "ema"), ("model", "dropout")):
        del record["config"][group][key]
    record["config"]["model"]["init"] = "gaussian"
    del record["config"]["transfer"]
    files.write_json(copy / "config.json", record)
    words = ("--config.folds=(0, 3)", "--config.task=joint")
    assert run(values, copy, *words) == ["fold 0 is done", "fold 3 is done"]
    with pytest.raises(InputError, match=r"differing: data.erasing: 0.0 -> 0.5; choose another"):
        run(values, copy, *words, "--config.data.erasing=0.5")


def test_other_data_in_the_same_folder_is_refused(finished, tmp_path):
    workdir, values = finished
    (tmp_path / "fold_0").mkdir()
    described = json.loads((workdir / "config.json").read_text())
    described["data"]["fingerprint"] = "another"
    files.write_json(tmp_path / "config.json", described)
    with pytest.raises(InputError, match="differing: data: another -> "):
        run(values, tmp_path, "--config.task=joint")


class StoppedError(Exception):
    pass


def _stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the next run when it logs this step, as if killed."""
    write = loop.MetricsLog.write

    def stopping(self, record):
        if record["step"] == step:
            raise StoppedError
        write(self, record)

    monkeypatch.setattr(loop.MetricsLog, "write", stopping)


# Faces on the devices take two steps in one dispatch.
PLACEMENTS = {
    "host": ("--config.data.placement=host",),
    "device": ("--config.data.placement=device", "--config.data.dispatch=2"),
    "stream": ("--config.data.placement=stream",),
    "balanced": ("--config.data.placement=host", "--config.data.balance=0.7"),
}


@pytest.fixture(scope="module")
def straight(tmp_path_factory, data_dir, small_faces):
    """predictions.csv of fold 1 from uninterrupted runs, by placement."""
    texts = {}
    for placement, overrides in PLACEMENTS.items():
        workdir = tmp_path_factory.mktemp(placement)
        values = small_values(data_dir)
        run(values, workdir, "--config.fold=1", *overrides)
        texts[placement] = (workdir / "fold_1" / "predictions.csv").read_bytes()
    return texts


def _probabilities(text: bytes) -> np.ndarray:
    rows = csv.DictReader(text.decode().splitlines())
    return np.array([[v for k, v in row.items() if "_probability_" in k] for row in rows], float)


def test_placements_train_the_same_model(straight):
    host = _probabilities(straight["host"])
    np.testing.assert_array_equal(_probabilities(straight["stream"]), host)
    np.testing.assert_allclose(_probabilities(straight["device"]), host, atol=1e-5)
    assert straight["balanced"] != straight["host"]


@pytest.mark.long
def test_worker_processes_decode_the_same_batches(straight, data_dir, small_config, tmp_path):
    run(small_values(data_dir), tmp_path, "--config.fold=1", "--config.data.placement=stream",
        "--config.data.workers=2")  # fmt: skip
    assert (tmp_path / "fold_1" / "predictions.csv").read_bytes() == straight["stream"]


@pytest.mark.parametrize("norm", [pytest.param("batch", marks=pytest.mark.long), "lrn"])
def test_bfloat16_computes_near_float32_and_keeps_float32_weights(
    norm, data_dir, small_config, tmp_path
):
    losses = {}
    for dtype in ("float32", "bfloat16"):
        run(small_values(data_dir), tmp_path / dtype, "--config.fold=1", f"--config.model.norm={norm}",
            f"--config.model.dtype={dtype}")  # fmt: skip
        losses[dtype] = [line["loss"] for line in metrics_of(tmp_path / dtype / "fold_1")]
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.05)
    assert losses["bfloat16"] != losses["float32"]
    model = load(tmp_path / "bfloat16" / "fold_1" / "bundle")
    assert {leaf.dtype for leaf in jax.tree.leaves(model.variables)} == {np.dtype("float32")}


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_stopped_run_goes_on_to_the_same_predictions_byte_for_byte(
    placement, straight, data_dir, small_config, tmp_path, monkeypatch
):
    overrides = ("--config.fold=1", *PLACEMENTS[placement])
    with monkeypatch.context() as patch:
        _stop_at(6, patch)
        with pytest.raises(StoppedError):
            run(small_values(data_dir), tmp_path, *overrides)
    assert not (tmp_path / "fold_1" / "result.json").exists()
    lines = run(small_values(data_dir), tmp_path, *overrides)
    assert "fold 1: resuming from step 4 of 8" in lines
    assert (tmp_path / "fold_1" / "predictions.csv").read_bytes() == straight[placement]
    assert [line["step"] for line in metrics_of(tmp_path / "fold_1")] == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ("--config.eval.log_every=1", [2, 4, 5, 6, 7, 8]),
        ("--config.eval.every=3", [2, 4, 6, 8]),
        ("--config.eval.batch_size=24", [2, 4, 6, 8]),
    ],
)
@pytest.mark.parametrize("placement", ["host", "device"])
def test_keys_that_change_no_figure_may_change_when_a_run_goes_on(
    placement, change, steps, straight, data_dir, small_config, tmp_path, monkeypatch
):
    overrides = ("--config.fold=1", *PLACEMENTS[placement])
    with monkeypatch.context() as patch:
        _stop_at(6, patch)
        with pytest.raises(StoppedError):
            run(small_values(data_dir), tmp_path, *overrides)
    lines = run(small_values(data_dir), tmp_path, *overrides, change)
    assert "fold 1: resuming from step 4 of 8" in lines
    found = _probabilities((tmp_path / "fold_1" / "predictions.csv").read_bytes())
    np.testing.assert_array_equal(found, _probabilities(straight[placement]))
    assert [line["step"] for line in metrics_of(tmp_path / "fold_1")] == steps


def test_other_settings_of_jax_leave_the_checkpoints_and_the_next_right_start_goes_on(
    straight, data_dir, small_config, tmp_path, monkeypatch
):
    overrides = ("--config.fold=1", *PLACEMENTS["host"])
    with monkeypatch.context() as patch:
        _stop_at(6, patch)
        with pytest.raises(StoppedError):
            run(small_values(data_dir), tmp_path, *overrides)
    for changed in (jax.default_prng_impl("rbg"), jax.threefry_partitionable(False)):
        with changed, pytest.raises(InputError, match="to resume, or choose another --workdir"):
            run(small_values(data_dir), tmp_path, *overrides)
        assert (tmp_path / "fold_1" / "checkpoints" / "4").is_dir()
    with jax.default_matmul_precision("bfloat16"):
        lines = run(small_values(data_dir), tmp_path, *overrides)
    assert "fold 1: resuming from step 4 of 8" in lines
    changed = "fold 1: matmul_precision default -> bfloat16: the same but for rounding"
    assert lines.count(changed) == 1
    on_cpus_the_same = (tmp_path / "fold_1" / "predictions.csv").read_bytes()
    assert on_cpus_the_same == straight["host"]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    straight, data_dir, small_config, tmp_path, monkeypatch
):
    overrides = ("--config.fold=1", "--config.data.placement=host", "--config.eval.every=2")
    # Validating more often saves more and changes nothing else.
    with monkeypatch.context() as patch:
        _stop_at(8, patch)
        with pytest.raises(StoppedError):
            run(small_values(data_dir), tmp_path, *overrides)
    checkpoints = tmp_path / "fold_1" / "checkpoints"
    latest = checkpoints / "8"
    for path in latest.rglob("*"):
        if path.is_file() and path.stat().st_size > 10_000:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    lines = run(small_values(data_dir), tmp_path, *overrides)
    assert any("checkpoints/8 cannot be read" in line for line in lines)
    assert "fold 1: resuming from step 6 of 8" in lines
    assert (checkpoints / "8.damaged").is_dir()
    assert (tmp_path / "fold_1" / "predictions.csv").read_bytes() == straight["host"]


@pytest.mark.parametrize(
    ("name", "words"), [("loss", "loss"), ("update_norm", "update of the weights")]
)
def test_what_is_not_finite_stops_the_run_names_the_step_and_is_not_saved(
    name, words, data_dir, small_config, tmp_path, monkeypatch
):
    means = log_lines.means

    def poisoned(fetched, first_step, **more):
        if first_step <= 8 < first_step + len(fetched[name]):
            fetched[name][8 - first_step] = np.float32("nan")
        return means(fetched, first_step, **more)

    monkeypatch.setattr(log_lines, "means", poisoned)
    with pytest.raises(RunError, match=f"fold 0: the {words} is nan at step 8; earlier"):
        run(small_values(data_dir), tmp_path, "--config.fold=0")
    assert (tmp_path / "fold_0" / "checkpoints" / "4").is_dir()
    assert not (tmp_path / "fold_0" / "checkpoints" / "8").exists()


def test_a_rate_that_is_far_too_high_ends_in_one_line(data_dir, small_config, tmp_path):
    with pytest.raises(
        RunError, match=r"the (loss|update of the weights) is (nan|inf) at step \d+;"
    ):
        run(small_values(data_dir), tmp_path, "--config.fold=0", "--config.model.norm=none",
            "--config.optim.learning_rate=1000.0")  # fmt: skip


def test_one_device_and_four_give_the_same_losses(data_dir, small_config, tmp_path, monkeypatch):
    losses = {}
    for count in (1, 4):
        mesh = make_mesh(jax.devices()[:count])
        with monkeypatch.context() as patch:
            patch.setattr(cross_validation, "make_mesh", lambda mesh=mesh: mesh)
            run(small_values(data_dir), tmp_path / str(count), "--config.fold=2")
        losses[count] = [line["loss"] for line in metrics_of(tmp_path / str(count) / "fold_2")]
    np.testing.assert_allclose(losses[1], losses[4], rtol=2e-5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--config.data.batch_size=18", "data.batch_size = 18 does not divide over 4 devices; 16 or 20"),
        ("--config.data.batch_size=400", "data.batch_size = 400 is larger than the "),
        ("--config.data.name=synthetic_face", "no dataset 'synthetic_face'; did you mean 'synthetic_f"),
        ("--config.data.name=adience", "dataset adience/aligned is not built, and its source files"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_in_words(
    override, message, data_dir, small_config, tmp_path
):
    with pytest.raises(InputError) as error:
        run(small_values(data_dir), tmp_path, override)
    assert message in str(error.value)


def test_faces_without_subjects_are_said_once_in_the_run_and_its_files(
    data_dir, small_config, tmp_path, monkeypatch
):
    notice = "no face has a subject, so people may be in two folds"
    told = {"subjects_given": "none", "without_subject": 160, "subjects_notice": notice}
    monkeypatch.setattr(dataset.StoredDataset, "metadata", told)
    lines = run(small_values(data_dir), tmp_path, "--config.fold=0")
    assert [line for line in lines if notice in line] == [f"{SMALL_FACES}/1.0.0: {notice}"]
    expected = {"given": "none", "without": 160, "notice": notice}
    for name in ("config.json", "summary.json", "fold_0/result.json", "fold_0/bundle/config.json"):
        assert json.loads((tmp_path / name).read_text())["data"]["subjects"] == expected
    assert "No face has a subject, so people" in (tmp_path / "fold_0/bundle/README.md").read_text()


def test_a_class_without_a_training_face_is_refused(data_dir, small_config, tmp_path, monkeypatch):
    complete = Faces.target

    def without_the_oldest(self, task, **options):
        target = complete(self, task, **options)
        target.classes[(target.classes == 7) & (self.folds != 2)] = 0
        return target

    monkeypatch.setattr(Faces, "target", without_the_oldest)
    with pytest.raises(InputError, match="testing fold 2: no training face is of age 60-100"):
        run(small_values(data_dir), tmp_path)


def test_frontal_selection_keeps_the_highest_scores_and_says_how_many_it_left(
    data_dir, small_config, tmp_path, monkeypatch
):
    # The cached table of labels has no scores.
    overrides = ("--config.data.most_frontal=120", "--config.data.prepared=False")
    with pytest.raises(InputError, match="the dataset has no face scores to go by"):
        run(small_values(data_dir), tmp_path / "none", *overrides)
    table = dataset.table

    def scored(examples, folds):
        ones = [{**example, "face_score": float(k % 7)} for k, example in enumerate(examples)]
        return table(ones, folds)

    monkeypatch.setattr(reading, "table", scored)
    run(small_values(data_dir), tmp_path, "--config.fold=0", *overrides)
    result = json.loads((tmp_path / "fold_0" / "result.json").read_text())
    assert sum(result["faces"][side] for side in ("train", "validation")) < 120
    assert result["data"]["not_frontal"] == 40
    assert result["protocol"]["most_frontal"] == 120


def test_a_folder_that_cannot_be_written_is_refused(data_dir, small_config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--workdir=.*file/run: cannot be written"):
        run(small_values(data_dir), tmp_path / "file" / "run")


def test_hold_out_trains_on_three_folds_validates_on_one_and_tests_one(
    data_dir, small_config, tmp_path
):
    run(small_values(data_dir), tmp_path, "--config.eval.protocol=hold_out")
    result = json.loads((tmp_path / "fold_4" / "result.json").read_text())
    assert result["faces"] == {"train": 96, "validation": 32, "test": 32, "test_unreadable": 0}
    assert json.loads((tmp_path / "summary.json").read_text())["folds"] == [4]


def test_the_best_checkpoint_is_tested_where_the_config_says_so(
    data_dir, small_config, tmp_path, monkeypatch
):
    validate = loop._validate
    ranks = {2: 0.3, 4: 0.9, 6: 0.1, 8: 0.2}

    def ranked(fold, state, placement):
        return validate(fold, state, placement)[0], ranks[int(state.step)]

    monkeypatch.setattr(loop, "_validate", ranked)
    run(small_values(data_dir), tmp_path, "--config.fold=0", "--config.eval.checkpoint=best",
        "--config.eval.every=2")  # fmt: skip
    assert json.loads((tmp_path / "fold_0" / "result.json").read_text())["tested_step"] == 4
    # Step 4 of this run equals a run of four steps, as the rate is constant so early.
    run(small_values(data_dir), tmp_path / "four", "--config.fold=0", "--config.steps=4")
    four, best = (
        (folder / "fold_0" / "predictions.csv").read_bytes()
        for folder in (tmp_path / "four", tmp_path)
    )
    assert best == four


def test_four_intervals_and_grey_input_reach_every_output(data_dir, small_config, tmp_path):
    run(
        small_values(data_dir), tmp_path, "--config.fold=0", "--config.task=joint",
        "--config.data.label_policy=intervals", "--config.data.channels=grey",
        "--config.data.intervals=((0, 12), (13, 29), (30, 49), (50, 100))",
    )  # fmt: skip
    names = ["0-12", "13-29", "30-49", "50-100"]
    result = json.loads((tmp_path / "fold_0" / "result.json").read_text())
    assert list(result["tasks"]["age"]["per_class"]) == names
    assert result["tasks"]["age"]["years"]["faces"] == 32
    header = (tmp_path / "fold_0" / "predictions.csv").read_text().splitlines()[0].split(",")
    assert [f"age_probability_{name}" for name in names] == header[6:10]
    model = load(tmp_path / "fold_0" / "bundle")
    assert model.heads["age"] == tuple(names)
    assert model.variables.params["trunk"]["conv1"]["kernel"].shape[2] == 1
    faces = np.zeros((2, 32, 32, 3), np.uint8)
    assert model(faces)["age"].shape == (2, 4)
