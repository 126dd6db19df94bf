"""python -m ageflax.evaluate as a user runs it: any model, any dataset, never faces it has seen."""

import csv
import errno
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ageflax import bundle, cross_validation, evaluate
from ageflax import config as configuration
from ageflax.data import build as dataset_build
from ageflax.data import dataset, images, pipeline
from ageflax.evaluate import __main__ as command
from tests.conftest import SMALL_FACES, small_values
from tfds_builders.labeled_faces.dummy_build import build, lay_out

OTHER_FACES = "synthetic_faces/people_40_photos_2_size_40_seed_5"
EVERY_FOLD = [0, 1, 2, 3, 4]


def trained(workdir, data_dir, *overrides):
    config = configuration.resolve(small_values(data_dir), overrides)
    cross_validation.run(config, workdir, say=lambda line: None)
    return workdir


@pytest.fixture(scope="module")
def joint(tmp_path_factory, data_dir, small_faces):
    """Folds 0 and 3 of a run with heads for age groups and gender. Not to be written to."""
    workdir = tmp_path_factory.mktemp("runs") / "joint"
    return trained(workdir, data_dir, "--config.task=joint", "--config.folds=(0, 3)")


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """Builds a dataset of five people from rows of labels.csv; returns its --config words."""

    def built(*rows):
        folder = lay_out(tmp_path_factory.mktemp("labeled") / "manual", rows)
        build(folder)
        return ["--config.data.name=labeled_faces", f"--config.data.dir={folder.parent / 'built'}"]

    return built


@pytest.fixture
def run(data_dir, tmp_path, capsys):
    """Runs the command; returns the exit code, result.json, predictions.csv and what was printed."""

    def ran(model, *words, output="out"):
        capsys.readouterr()  # what was printed before is not of this run
        words = [f"--model={model}", f"--config.data.dir={data_dir}", *words]
        code = command.main([*words, f"--output={tmp_path / output}"])
        path = tmp_path / output / "result.json"
        result = json.loads(path.read_text()) if path.is_file() else None
        return code, result, tmp_path / output / "predictions.csv", capsys.readouterr()

    return ran


def table(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def same(path, expected, *, atol=1e-6):
    """Asserts that two predictions.csv are of the same faces, and agree."""
    here, there = table(path), table(expected)
    assert [row.keys() for row in here] == [row.keys() for row in there]
    for column in here[0]:
        left, right = ([row[column] for row in rows] for rows in (here, there))
        if "_probability_" in column or column.startswith("years_"):
            left, right = (np.array(values, np.float64) for values in (left, right))
            np.testing.assert_allclose(left, right, atol=atol)
        else:
            assert left == right


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("fold_3", ["--config.eval.batch_size=16"]),
        ("fold_3/bundle", []),  # another batch size than in training
        ("fold_3", ["--config.data.placement=host", "--config.fold=3"]),
        ("fold_3", ["--config.data.placement=stream", "--config.data.workers=1"]),
    ],
)
def test_on_its_own_fold_a_bundle_gives_what_training_wrote(joint, run, path, words):
    code, result, predictions, printed = run(joint / path, *words)
    assert code == 0
    same(predictions, joint / "fold_3" / "predictions.csv")
    before = json.loads((joint / "fold_3" / "result.json").read_text())
    for task, figures in before["tasks"].items():
        for name in ("faces", "exact", "one_off", "confusion", "per_class"):
            assert result["tasks"][task].get(name) == figures.get(name)
    assert result["tasks"]["age"]["years"]["mae"] == pytest.approx(
        before["tasks"]["age"]["years"]["mae"], rel=1e-6
    )
    assert result["fold"] == 3
    assert result["protocol"] == before["protocol"]
    assert result["data"] == before["data"]
    assert result["faces"]["test"] == before["faces"]["test"] == 32
    assert f"the model was trained on {SMALL_FACES}/1.0.0 itself: tested on fold 3," in printed.err
    lines = printed.out.splitlines()
    assert lines[0].startswith(f"{SMALL_FACES}/1.0.0, cross_validation, test folds 3;")
    assert lines[2].split()[:4] == [
        "age",
        "32",
        f"{100 * before['tasks']['age']['exact']:.1f}",
        "%",
    ]


def test_of_a_whole_run_each_fold_is_tested_by_its_own_model(joint, run):
    code, result, predictions, printed = run(joint)
    assert code == 0
    lines = [(joint / f"fold_{k}" / "predictions.csv").read_text().splitlines() for k in (0, 3)]
    expected = predictions.parent / "expected.csv"
    expected.write_text("\n".join([*lines[0], *lines[1][1:]]) + "\n")
    same(predictions, expected)
    summary = json.loads((joint / "summary.json").read_text())
    for task in ("age", "gender"):
        assert result["tasks"][task]["confusion"] == summary["tasks"][task]["confusion"]
    # Over folds, as training prints it.
    exact = summary["tasks"]["age"]["exact"]
    assert f"{100 * exact['mean']:.1f} +- {100 * exact['std']:.1f} %" in printed.out
    assert (result["fold"], result["folds"]) == (None, [0, 3])
    members = result["model"]["members"]
    assert [member["fold"] for member in members] == [0, 3]
    assert result["model"]["kind"] == "run"


def test_the_weights_are_named_by_their_checksum(joint, run):
    _, result, *_ = run(joint / "fold_0")
    path = joint / "fold_0" / "bundle"
    assert result["model"] == {
        "path": str(joint / "fold_0"), "kind": "bundle",
        "sha256": (digest := bundle_sha256(path)),
        "members": [{"path": str(path), "sha256": digest, "fold": 0,
                     "trained_on": f"{SMALL_FACES}/1.0.0"}],
    }  # fmt: skip


def bundle_sha256(path):
    return hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()


def test_on_other_data_a_runs_models_answer_together(joint, run, data_dir, tmp_path, monkeypatch):
    code, result, predictions, printed = run(joint, f"--config.data.name={OTHER_FACES}")
    assert code == 0
    assert result["folds"] == EVERY_FOLD
    assert result["protocol"]["name"] == "external"
    assert result["notices"] == printed.err.splitlines()[-3:-1] == [
        f"the model was trained on {SMALL_FACES}, of the same builder: it has seen what faces the two"
        " share",
        "the models of 2 folds answer as one: their probabilities are averaged",
    ]  # fmt: skip
    assert f"{OTHER_FACES}/1.0.0, external, test folds 0, 1, 2, 3, 4" in printed.out
    stored = dataset_build.open_built(OTHER_FACES, directory=str(data_dir))
    examples = stored.examples(range(len(stored)))
    rows = table(predictions)
    assert [row["key"] for row in rows] == [example["key"].decode() for example in examples]
    both = bundle.ensemble(joint)
    expected = both(np.stack([both.prepare(example["image"]) for example in examples]))
    for task, names in both.heads.items():
        written = [[float(row[f"{task}_probability_{name}"]) for name in names] for row in rows]
        np.testing.assert_allclose(written, expected[task], atol=2e-6)
    # Where no output is named, a folder of the model's and the dataset's names.
    monkeypatch.chdir(tmp_path)
    words = [f"--config.data.dir={data_dir}", f"--config.data.name={OTHER_FACES}"]
    assert command.main([f"--model={joint}/fold_0/bundle", *words, "--config.folds=(1, 2)"]) == 0
    name = f"joint_fold_0_on_{OTHER_FACES.replace('/', '_')}"
    alone = json.loads((tmp_path / "runs" / "evaluate" / name / "result.json").read_text())
    assert alone["folds"] == [1, 2]
    assert alone["faces"]["test"] == 32
    assert alone["command"][:3] == ["python", "-m", "ageflax.evaluate"]


def test_crops_are_the_models_own_unless_others_are_asked_for(joint, run):
    centre, ten = (
        run(joint / "fold_0", *words)[1:3] for words in ([], ["--config.eval.crops=ten"])
    )
    assert centre[0]["protocol"]["crops"] == "center"
    assert ten[0]["protocol"]["crops"] == "ten"
    model = bundle.load(joint / "fold_0" / "bundle")
    assert centre[0]["protocol"]["label_policy"] == model.config["protocol"]["label_policy"]


@pytest.mark.parametrize("loss", ["cross_entropy", "l1"])
def test_a_head_for_years_gives_what_training_wrote(loss, run, labeled, data_dir, tmp_path):
    workdir = trained(
        tmp_path / "years", data_dir, "--config.task=years+gender", f"--config.loss.years={loss}",
        "--config.fold=1",
    )  # fmt: skip
    code, result, predictions, _ = run(workdir / "fold_1")
    assert code == 0
    same(predictions, workdir / "fold_1" / "predictions.csv", atol=1e-4)
    before = json.loads((workdir / "fold_1" / "result.json").read_text())
    assert result["tasks"]["years"]["years"]["mae"] == pytest.approx(
        before["tasks"]["years"]["years"]["mae"], abs=1e-5
    )
    # Where no face has its age in years, the groups that its years add up to are measured.
    rows = [
        f"{name}.png,{group}"
        for name, group in zip("abcde", ["0-2", "25-32", "60-100", "38-43", "26"], strict=True)
    ]
    words = labeled("path,age_group", *rows)
    code, result, predictions, printed = run(
        workdir / "fold_1", *words, "--config.data.label_policy=nearest"
    )
    assert code == 0
    assert list(result["tasks"]) == ["years"]
    assert result["tasks"]["years"]["faces"] == 5
    assert result["tasks"]["years"]["per_class"]["25-32"]["faces"] == 2
    assert "years" not in result["tasks"]["years"]
    assert "no tested face of labeled_faces/default/1.0.0 has a label for gender" in printed.err
    assert {row["years_true"] for row in table(predictions)} == {""}
    assert {row["gender_predicted"] for row in table(predictions)} <= {"female", "male"}


def test_ages_in_years_are_placed_in_the_models_groups_by_the_policy(joint, run, labeled):
    words = labeled("path,age", "a.png,26", "b.png,35", "c.png,70", "d.png,4.5", "e.png,56")
    code, result, predictions, printed = run(joint / "fold_0", *words)
    assert code == 0
    true = {row["key"]: row["age_true"] for row in table(predictions)}
    assert true == {
        "a.png": "25-32",
        "c.png": "60-100",
        "d.png": "4-6",
    }  # the others' are in no group
    assert "2 of 5 faces have no label that counts (data.label_policy=strict)" in printed.err
    assert result["data"]["without_label"] == 2
    assert result["tasks"]["age"]["years"]["faces"] == 3
    code, result, predictions, _ = run(
        joint / "fold_0", *words, "--config.data.label_policy=nearest"
    )
    true = {row["key"]: row["age_true"] for row in table(predictions)}
    assert (true["b.png"], true["e.png"]) == ("25-32", "48-53")
    assert result["protocol"]["label_policy"] == "nearest"


def test_a_model_of_other_age_groups_keeps_them(run, labeled, data_dir, tmp_path):
    workdir = trained(
        tmp_path / "four", data_dir, "--config.fold=0", "--config.data.label_policy=intervals",
        "--config.data.intervals=((0, 12), (13, 29), (30, 49), (50, 100))",
    )  # fmt: skip
    words = labeled("path,age", "a.png,26", "b.png,35", "c.png,70", "d.png,4.5", "e.png,56")
    for more in ([], ["--config.data.label_policy=intervals"]):
        code, result, _, _ = run(workdir / "fold_0", *words, *more)
        assert code == 0
        faces = {
            name: figures["faces"] for name, figures in result["tasks"]["age"]["per_class"].items()
        }
        assert faces == {"0-12": 1, "13-29": 1, "30-49": 1, "50-100": 2}
    code, _, _, printed = run(workdir / "fold_0", *words, "--config.data.label_policy=mivolo")
    assert code == 2
    assert "'mivolo' is of Adience's eight groups, and the model's are 0-12, 13-29," in printed.err


def test_without_a_label_for_any_head_there_is_nothing_to_test(
    joint, run, labeled, data_dir, tmp_path
):
    ages = labeled("path,age", *(f"{name}.png,26" for name in "abcde"))
    workdir = trained(tmp_path / "gender", data_dir, "--config.task=gender", "--config.fold=0")
    code, _, _, printed = run(workdir / "fold_0", *ages)
    assert (code, printed.out) == (2, "")
    assert printed.err.endswith("no face of labeled_faces/default/1.0.0 has a label for gender\n")
    # Of a model with another head besides, that one is tested.
    code, result, _, _ = run(joint / "fold_0", *ages)
    assert (code, list(result["tasks"])) == (0, ["age"])
    between = labeled("path,age", *(f"{name}.png,35" for name in "abcde"))
    code, _, _, printed = run(joint / "fold_0", *between)
    assert code == 2
    assert (
        "has a label for age or gender under data.label_policy=strict; nearest takes" in printed.err
    )


def test_the_frontal_faces_of_its_own_protocol_are_tested(run, data_dir, tmp_path, monkeypatch):
    labels = dataset.table

    def scored(examples, folds):
        ones = [{**example, "face_score": float(k % 7)} for k, example in enumerate(examples)]
        return labels(ones, folds)

    monkeypatch.setattr(pipeline, "table", scored)
    workdir = trained(
        tmp_path / "run", data_dir, "--config.fold=0", "--config.data.most_frontal=120"
    )
    code, result, predictions, printed = run(workdir / "fold_0")
    assert code == 0
    same(predictions, workdir / "fold_0" / "predictions.csv")
    assert result["protocol"]["most_frontal"] == 120
    assert result["data"]["not_frontal"] == 40
    assert "the 120 of the highest face_score are kept" in printed.err
    code, result, _, _ = run(workdir / "fold_0", "--config.data.most_frontal=0")
    assert (result["faces"]["test"], result["protocol"]["most_frontal"]) == (32, 0)


@pytest.mark.parametrize("placement", ["stream", "host"])
def test_images_that_do_not_decode_are_counted_by_reason(
    placement, joint, run, small_faces, monkeypatch
):
    rows = [row for row in range(len(small_faces)) if small_faces.fold_of(row) == 0]
    examples = small_faces.examples(rows)
    reasons = {
        examples[k]["image"]: reason
        for k, reason in ((2, "truncated"), (5, "empty"), (9, "truncated"))
    }
    decode = images.decode

    def damaged(content, **options):
        if content in reasons:
            raise images.BadImageError(reasons[content])
        return decode(content, **options)

    monkeypatch.setattr(images, "decode", damaged)
    words = [f"--config.data.placement={placement}"]
    code, result, predictions, printed = run(joint / "fold_0", *words)
    assert code == 0
    assert result["unreadable"] == {"empty": 1, "truncated": 2}
    assert (result["faces"]["test"], result["faces"]["test_unreadable"]) == (32, 3)
    assert len(table(predictions)) == result["tasks"]["gender"]["faces"] == 29
    assert "3 images do not decode and are left out; the first: " in printed.err
    assert f"{examples[2]['key'].decode()} (truncated)" in printed.err
    reasons |= {example["image"]: "truncated" for example in examples}
    code, _, _, printed = run(joint / "fold_0", *words, output="none")
    assert code == 2
    assert "none of the 32 images to test on can be read" in printed.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config.data.crop=20"], "--config.data.crop: is the model's own, which is tested as it was"),
        (["--config.data.mean=none"], "--config.data.mean: is the model's own"),
        (["--config.model.name=vgg16"], "--config.model.name: is the model's own"),
        (["--config.data.intervals=((0, 9), (10, 100))"],
         "--config.data.intervals: the classes are the model's own age groups; set data.label_policy"),
        (["--config.task=gender"], "--config.task: the model's heads are tested"),
        (["--config.steps=9"], "--config.steps: is of training. Accepted are data.name, data.dir,"),
        (["--config.optim.learning_rate=1"], "--config.optim.learning_rate: is of training"),
        (["--config.data.nam=x"], "--config.data.nam: unknown key; did you mean 'data.name'?"),
        (["--config.eval.crops=twelve"], "eval.crops = 'twelve': not a choice"),
        (["--config.eval.batch_size=0"], "eval.batch_size = 0: must lie in 1 to"),
        (["--config.fold=5"], "fold 5 is out of range"),
        (["--config.fold=1", "--config.folds=(0,)"], "the command line: gives both folds and fold"),
        (["--model.x=1"], "'--model.x=1' is no argument of this command"),
        (["--config.data.name=adiense"], "data.name = 'adiense': no dataset 'adiense'; did you mean"),
        (["--config.data.name=labeled_faces/nope"], "dataset labeled_faces/nope is not built, and"),
        (["--config.fold=1"],
         f"the model was trained on {SMALL_FACES}/1.0.0 itself, fold 1 included: figures on faces"),
        (["--config.folds=(0, 3)"], "fold 3 included"),
        (["--config.data.most_frontal=9"], "the dataset has no face scores to go by"),
    ],
)  # fmt: skip
def test_what_it_cannot_be_told_is_one_line_and_exit_code_2(joint, run, words, message):
    code, result, predictions, printed = run(joint / "fold_0", *words)
    assert code == 2
    assert printed.err.startswith(f"ageflax.evaluate: {message}") or message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert result is None
    assert not predictions.exists()


def damage(folder, kind):
    """Makes a copy of a bundle one that cannot be used."""
    config, weights = folder / "config.json", folder / "model.safetensors"
    described = json.loads(config.read_text())
    if kind == "weights cut short":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif kind == "no weights":
        weights.unlink()
    elif kind == "a tensor absent":
        tensors = load_file(weights)
        del tensors["params/heads/gender/kernel"]
        save_file(tensors, weights)
    elif kind == "another architecture":
        described["architecture"]["width"] = 0.1
    elif kind == "an odd architecture":
        described["architecture"]["name"] = "nothing"
    elif kind == "genders in another order":
        described["heads"]["gender"] = ["male", "female"]
    elif kind == "no age groups":
        described["age_groups"] = []
    elif kind == "no input":
        del described["input"]
    elif kind == "a list":
        described = []
    elif kind == "no heads":
        del described["heads"]
    elif kind == "mean of another size":
        tensors = load_file(weights)
        save_file(tensors | {"mean": np.zeros((5, 5, 3), np.float32)}, weights)
    elif kind == "data of another type":
        described["data"] = "Adience"
    config.write_text(json.dumps(described))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("weights cut short", "not a readable bundle"),
        ("no weights", "neither a bundle (config.json, model.safetensors) nor a run's folder"),
        ("a tensor absent", "1 differ, such as ['params']['heads']['gender']['kernel']: absent in"),
        ("another architecture", "its weights are not those of its architecture"),
        ("an odd architecture", "not a readable bundle"),
        ("genders in another order", "heads: gender: expected the 2 classes female, male"),
        ("no age groups", "age_groups: expected [low, high] pairs"),
        ("no input", "input: expected resize, crop, interpolation and channels"),
        ("a list", "config.json is no JSON object"),
        ("no heads", "not a readable bundle"),
        ("mean of another size", "its mean or deviation does not fit its input"),
        ("data of another type", "data: expected an object"),
    ],
)
def test_a_damaged_bundle_is_one_line_and_exit_code_2(kind, message, joint, run, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(joint / "fold_0" / "bundle", folder)
    damage(folder, kind)
    code, _, _, printed = run(folder)
    assert code == 2
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1


def test_what_is_no_model_is_told_as_such(joint, run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun" / "fold_0" / "checkpoints").mkdir(parents=True)
    for model, message in (
        (tmp_path / "absent", "no such file or folder"),
        (
            tmp_path / "empty",
            "neither a bundle (config.json, model.safetensors) nor a run's folder",
        ),
        (tmp_path / "begun", "a run of which no fold is finished: no fold_K/bundle"),
        (tmp_path / "begun" / "fold_0", "a fold that is not finished"),
        (joint / "fold_0" / "bundle" / "model.safetensors", "not an .onnx file; of a bundle, name"),
    ):
        code, _, _, printed = run(model)
        assert code == 2
        assert printed.err.startswith(f"ageflax.evaluate: --model={model}: {message}")


def test_a_run_whose_folds_differ_is_refused(joint, run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(joint, copy)
    path = copy / "fold_3" / "bundle" / "config.json"
    described = json.loads(path.read_text())
    path.write_text(json.dumps(described | {"input": described["input"] | {"crop": 25}}))
    code, _, _, printed = run(copy)
    assert code == 2
    assert "fold_3/bundle: its input differ from those of " in printed.err


def test_a_training_run_is_not_written_over(joint, run, data_dir, tmp_path, capsys):
    before = {path: path.read_bytes() for path in joint.rglob("*") if path.is_file()}
    for folder in (joint, joint / "fold_0", joint / "fold_0" / "bundle"):
        words = [f"--model={joint}/fold_0", f"--config.data.dir={data_dir}", f"--output={folder}"]
        assert command.main(words) == 2
        assert "holds a training run, which stays as it is" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in joint.rglob("*") if path.is_file()}
    (tmp_path / "file").touch()
    code, _, _, printed = run(joint / "fold_0", output="file/x")
    assert code == 2
    assert "file/x: cannot be written: Not a directory" in printed.err


def test_a_disk_that_fills_up_leaves_no_result_beside_other_predictions(joint, run, monkeypatch):
    assert run(joint / "fold_0")[0] == 0

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "write_predictions", full, raising=False)
        code, result, _, printed = run(joint / "fold_0")
    assert (code, result) == (1, None)
    assert "No space left on device" in printed.err
    assert run(joint / "fold_0")[1] is not None


def test_answers_that_are_not_finite_are_a_failed_run(joint, run, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(joint / "fold_0" / "bundle", folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["params/heads/gender/bias"] = np.array([np.nan, 0.0], np.float32)
    save_file(tensors, folder / "model.safetensors")
    code, result, _, printed = run(folder)
    assert (code, result) == (1, None)
    assert "answers for gender are not finite for 32 of 32 faces, the first person_" in printed.err


def test_another_state_of_its_own_data_is_tested_and_said(joint, run, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(joint / "fold_0" / "bundle", folder)
    described = json.loads((folder / "config.json").read_text())
    described["data"]["fingerprint"] = "another"
    (folder / "config.json").write_text(json.dumps(described))
    code, result, _, printed = run(folder)
    assert (code, result["folds"]) == (0, EVERY_FOLD)
    assert f"was trained on another state of this dataset, {SMALL_FACES}/1.0.0" in printed.err
    assert result["protocol"]["name"] == "external"


def test_help_and_a_misspelt_key_need_no_jax():
    code = (
        "import sys\n"
        "from ageflax.evaluate import __main__ as command\n"
        "assert command.main(['--model=x', '--config.steps=3']) == 2\n"
        "assert not {'jax', 'tensorflow_datasets'} & set(sys.modules)\n"
        "try: command.main(['--help'])\n"
        "except SystemExit: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--model MODEL" in done.stdout
    code = (
        "import sys; sys.argv = ['x', '--help']\n"
        "from ageflax.evaluate import __main__ as command\n"
        "try: command.main()\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'numpy', 'ml_collections'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_the_lazy_package_has_its_names_and_no_others():
    assert evaluate.predict.__module__ == "ageflax.evaluate._evaluate"
    assert {getattr(evaluate, name).__name__ for name in evaluate.__all__} == set(evaluate.__all__)
    with pytest.raises(AttributeError, match=r"'ageflax\.evaluate' has no attribute 'nothing'"):
        evaluate.nothing  # noqa: B018
