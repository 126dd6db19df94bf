"""python -m ageflax.evaluate: any model on any dataset, never on faces it has seen."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ageflax import evaluate as command
from ageflax.bundle import ensemble, load
from ageflax.data import dataset, images, reading
from ageflax.data.building import find
from tests.conftest import SMALL_FACES
from tests.evaluation.runs import rounded, same, table, trained
from tests.support import small_bundle

OTHER_FACES = "synthetic_faces/people_40_photos_2_size_40_seed_5"
EVERY_FOLD = [0, 1, 2, 3, 4]


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
        for name in ("faces", "exact", "one_off", "confusion", "per_class", "groups", "intervals"):
            found, expected = result["tasks"][task].get(name), figures.get(name)
            assert rounded(found) == rounded(expected), name
        calibration = result["tasks"][task]["calibration"]
        assert calibration["temperature"] == figures["calibration"]["temperature"]
        assert calibration["nll_scaled"] == pytest.approx(
            figures["calibration"]["nll_scaled"], 1e-5
        )
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
    exact = before["tasks"]["age"]["exact"]
    assert lines[2].split()[:3] == ["age", "32", f"{100 * exact:.1f}"]


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
    assert f"{100 * exact['mean']:.1f} +- {100 * exact['std']:.1f}  " in printed.out
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
        f"the model was trained on {SMALL_FACES}, from the same builder: it has seen the faces that the"
        " two share",
        "the probabilities of 2 folds' models are averaged",
    ]  # fmt: skip
    assert f"{OTHER_FACES}/1.0.0, external, test folds 0, 1, 2, 3, 4" in printed.out
    stored = find.open_built(OTHER_FACES, directory=str(data_dir))
    examples = stored.examples(range(len(stored)))
    rows = table(predictions)
    assert [row["key"] for row in rows] == [example["key"].decode() for example in examples]
    both = ensemble(joint)
    expected = both(np.stack([both.prepare(example["image"]) for example in examples]))
    for task, names in both.heads.items():
        written = [[float(row[f"{task}_probability_{name}"]) for name in names] for row in rows]
        np.testing.assert_allclose(written, expected[task], atol=2e-6)
    # Without --output, a folder named after the model and the dataset.
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
    model = load(joint / "fold_0" / "bundle")
    assert centre[0]["protocol"]["label_policy"] == model.config["protocol"]["label_policy"]


def test_the_reading_of_ages_is_the_models_own_unless_another_is_asked_for(run, labeled, tmp_path):
    words = labeled("path,age", "a.png,26", "b.png,35", "c.png,70", "d.png,4", "e.png,9")
    path = small_bundle.write(tmp_path / "bundle", "years")
    maes = []
    for more in ([], ["--config.eval.age=mean"], ["--config.eval.age=median"]):
        code, result, _, _ = run(path, *words, "--config.data.label_policy=nearest", *more)
        assert code == 0
        assert result["protocol"]["age"] == ("median" if "median" in "".join(more) else "mean")
        maes.append(result["tasks"]["years"]["years"]["mae"])
    assert maes[0] == maes[1] != maes[2]
    gender = small_bundle.write(tmp_path / "gender", "gender")
    code, _, _, printed = run(gender, *words, "--config.eval.age=median")
    assert code == 2
    assert "eval.age = 'median': the model has no distribution over years" in printed.err


@pytest.mark.parametrize("loss", [pytest.param("cross_entropy", marks=pytest.mark.long), "l1"])
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
    # If no age in years is known, the age groups that the years add up to are measured.
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
    }  # the others are in no group
    assert "2 of 5 faces have no usable label (data.label_policy=strict)" in printed.err
    assert result["data"]["without_label"] == 2
    assert result["tasks"]["age"]["years"]["faces"] == 3
    code, result, predictions, _ = run(
        joint / "fold_0", *words, "--config.data.label_policy=nearest"
    )
    true = {row["key"]: row["age_true"] for row in table(predictions)}
    assert (true["b.png"], true["e.png"]) == ("25-32", "48-53")
    assert result["protocol"]["label_policy"] == "nearest"


def test_faces_without_subjects_are_said_once_and_no_interval_is_by_subject(joint, run, labeled):
    rows = ["a.png,26", "b.png,35", "c.png,70", "d.png,4.5", "e.png,56"]
    notice = "no face has a subject: each counts as a subject of its own, so one person may be in two folds"
    code, result, _, printed = run(joint / "fold_0", *labeled("path,age", *rows))
    assert code == 0
    assert result["data"]["subjects"] == {"given": "none", "without": 5, "notice": notice}
    assert printed.err.count(f"labeled_faces/default/1.0.0: {notice}") == 1
    assert "95 % intervals by face\n" in printed.out
    named = [f"{row},{name}" for row, name in zip(rows, "VWXYZ", strict=True)]
    code, result, _, printed = run(joint / "fold_0", *labeled("path,age,subject", *named))
    assert result["data"]["subjects"] == {"given": "all", "without": 0, "notice": ""}
    assert "may be in two folds" not in printed.err
    assert "95 % intervals by subject\n" in printed.out


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
    assert "'mivolo' needs Adience's eight groups, but the model's are 0-12, 13-29," in printed.err


def test_without_a_label_for_any_head_there_is_nothing_to_test(
    joint, run, labeled, data_dir, tmp_path
):
    ages = labeled("path,age", *(f"{name}.png,26" for name in "abcde"))
    workdir = trained(tmp_path / "gender", data_dir, "--config.task=gender", "--config.fold=0")
    code, _, _, printed = run(workdir / "fold_0", *ages)
    assert (code, printed.out) == (2, "")
    assert printed.err.endswith("no face of labeled_faces/default/1.0.0 has a label for gender\n")
    # A model with another head is tested by that head.
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

    monkeypatch.setattr(reading, "table", scored)
    unprepared = "--config.data.prepared=False"  # the cached table of labels has no scores
    workdir = trained(
        tmp_path / "run", data_dir, "--config.fold=0", "--config.data.most_frontal=120", unprepared
    )
    code, result, predictions, printed = run(workdir / "fold_0", unprepared)
    assert code == 0
    same(predictions, workdir / "fold_0" / "predictions.csv")
    assert result["protocol"]["most_frontal"] == 120
    assert result["data"]["not_frontal"] == 40
    assert "the 120 with the highest face_score are kept" in printed.err
    code, result, _, _ = run(workdir / "fold_0", "--config.data.most_frontal=0", unprepared)
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
        "from ageflax import evaluate as command\n"
        "assert command.main(['--model=x', '--config.steps=3']) == 2\n"
        "assert not {'jax', 'tensorflow_datasets'} & set(sys.modules)\n"
        "try: command.main(['--help'])\n"
        "except SystemExit: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--model MODEL" in done.stdout
    code = (
        "import sys; sys.argv = ['x', '--help']\n"
        "from ageflax import evaluate as command\n"
        "try: command.main()\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'numpy', 'ml_collections'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
