"""Training from teachers: what they see, what they are refused for, and whole runs."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax import bundle
from ageflax import config as configuration
from ageflax.bundle.description import Input
from ageflax.bundle.model import Member, Model
from ageflax.config import Config
from ageflax.errors import InputError
from ageflax.evaluation import unseen
from ageflax.runtime.mesh import make_mesh
from ageflax.training import cross_validation, distillation, loop
from ageflax.training.distillation import Distillation
from tests.conftest import small_values
from tests.support import small_bundle

RNG = np.random.default_rng(0)
SOURCE = {"fingerprint": "here", "name": "adience/aligned/1.0.0"}


def config_of(data_dir: Path, *words: str, fold: int = 0) -> Config:
    given = (f"--config.fold={fold}", "--config.data.mean=channel", *words)
    return configuration.resolve(small_values(data_dir), given)


def taught_by(*paths: Path | str, weight: float = 0.5) -> tuple[str, str]:
    names = tuple(map(str, paths))
    return f"--config.distill.teachers={names}", f"--config.distill.weight={weight}"


def run(config: Config, workdir: Path) -> Path:
    """Runs fold 0 and gives its folder."""
    cross_validation.run(config, workdir, say=lambda line: None)
    return workdir / "fold_0"


def log(fold: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (fold / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, data_dir, small_faces) -> Path:
    """Fold 0 of a run of years and groups and gender, and its mean image."""
    del small_faces
    values = small_values(data_dir)
    config = configuration.resolve(values, ["--config.fold=0", "--config.task=age+gender"])
    return run(config, tmp_path_factory.mktemp("teacher"))


def member_of(path: Path) -> Member:
    member = bundle.load(path).members[0]
    assert isinstance(member, Member)
    return member


def distillation_of(*members: Member, channels: str = "bgr") -> Distillation:
    networks = tuple(member.network for member in members)
    return Distillation(networks, 0.5, 1.0, channels, make_mesh(jax.devices()[:1]))


@pytest.mark.parametrize("channels", ["bgr", "rgb"])
@pytest.mark.parametrize("mean", ["image", "pixel"])
def test_teachers_answer_for_the_pixels_of_the_views(channels, mean, tmp_path):
    path = small_bundle.write(tmp_path / "bundle")
    member = member_of(path)
    if mean == "image":
        own = RNG.uniform(90, 140, (32, 32, 3)).astype(np.float32)
        member = dataclasses.replace(
            member, variables=dataclasses.replace(member.variables, mean=own)
        )
    faces = RNG.integers(0, 256, (4, 32, 32, 3), np.uint8)
    expected = Model([member], "changed")(faces)
    # The centre crop, as the student's views have it: its own mean, std and order of channels.
    student_mean = np.array([[[100, 110, 120]]], np.float32)
    std = np.array([[[50, 60, 70]]], np.float32)
    views = (faces[:, 2:29, 2:29] - student_mean) / std
    if channels == "bgr":
        views = views[..., ::-1]
    found = jax.jit(distillation_of(member, channels=channels).told)(
        [member.variables], jnp.asarray(views), jnp.asarray(student_mean), jnp.asarray(std)
    )
    for task, values in expected.items():
        np.testing.assert_allclose(found[task], values, atol=1e-4)


def test_several_teachers_are_averaged_each_at_its_own_size(tmp_path):
    one, other = (member_of(small_bundle.write(tmp_path / str(k))) for k in range(2))
    other = dataclasses.replace(
        other, variables=jax.tree.map(lambda leaf: leaf * np.float32(0.9), other.variables)
    )
    plain, unit = jnp.zeros((1, 1, 3)), jnp.ones((1, 1, 3))
    views = jnp.asarray(RNG.uniform(0, 255, (3, 40, 40, 3)), jnp.float32)

    def told(*members: Member) -> dict[str, jax.Array]:
        variables = [member.variables for member in members]
        return jax.jit(distillation_of(*members).told)(variables, views, plain, unit)

    each, both = [told(one), told(other)], told(one, other)
    for task, values in both.items():
        np.testing.assert_allclose(values, (each[0][task] + each[1][task]) / 2, atol=1e-6)
        np.testing.assert_allclose(values.sum(1), 1.0, rtol=1e-5)
    small = jax.image.resize(views, (3, 27, 27, 3), "linear")
    direct = jax.jit(distillation_of(one).told)([one.variables], small, plain, unit)
    for task, values in direct.items():
        np.testing.assert_allclose(each[0][task], values, atol=1e-5)


def test_a_student_learns_its_teachers_answers(teacher, data_dir, tmp_path):
    words = ("--config.task=age+gender", "--config.data.mean=channel", "--config.steps=16",
             "--config.optim.learning_rate=1e-3")  # fmt: skip
    fold = run(config_of(data_dir, *words, *taught_by(teacher, weight=1.0)), tmp_path / "taught")
    lines = log(fold)
    assert lines[-1]["age_distilled"] < lines[0]["age_distilled"]
    for line in lines:
        mixed = line["age_distilled"] + line["gender_distilled"]
        assert line["loss"] == pytest.approx(mixed, rel=1e-5)
    result = json.loads((fold / "result.json").read_text())
    (recorded,) = result["teachers"]
    assert recorded["sha256"] == member_of(teacher).sha256
    assert recorded["trained_on"]["fold"] == 0
    assert recorded["trained_on"]["fingerprint"] == result["data"]["fingerprint"]
    student = bundle.load(fold)
    assert student.description.source["teachers"] == [recorded]


def test_the_loss_mixes_labels_and_teachers(teacher, data_dir, tmp_path):
    one = ("--config.task=age", "--config.steps=2", "--config.eval.log_every=1")
    plain = log(run(config_of(data_dir, *one), tmp_path / "plain"))[0]
    words = (*one, "--config.distill.temperature=2.0", *taught_by(teacher, teacher, weight=0.25))
    for name, more in (("taught", ()), ("device", ("--config.data.placement=device",)),
                       ("parts", ("--config.optim.accumulate=4", "--config.model.norm=none"))):  # fmt: skip
        line = log(run(config_of(data_dir, *words, *more), tmp_path / name))[0]
        expected = 0.75 * line["age_loss"] + 0.25 * line["age_distilled"]
        assert line["loss"] == pytest.approx(expected, rel=1e-5)
        if name != "parts":
            assert line["age_loss"] == pytest.approx(plain["age_loss"], rel=1e-5)


class StoppedError(Exception):
    pass


def test_a_stopped_run_resumes_with_the_same_teachers_only(
    teacher, data_dir, tmp_path, monkeypatch
):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (teacher / "bundle").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = config_of(data_dir, "--config.data.mixup=0.4", *taught_by(copy))
    straight = run(config, tmp_path / "straight")
    write = loop.MetricsLog.write

    def stopping(self, record):
        if record["step"] == 6:
            raise StoppedError
        write(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(loop.MetricsLog, "write", stopping)
        with pytest.raises(StoppedError):
            run(config, tmp_path / "stopped")
    resumed = run(config, tmp_path / "stopped")
    for name in ("predictions.csv", "bundle/model.safetensors"):
        assert (resumed / name).read_bytes() == (straight / name).read_bytes()
    (resumed / "result.json").unlink()
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match="other weights than at the start of this run"):
        run(config, tmp_path / "stopped")


def test_teachers_that_saw_the_test_faces_are_refused(teacher, data_dir, tmp_path):
    config = config_of(data_dir, *taught_by(teacher), fold=1)
    with pytest.raises(InputError) as caught:
        cross_validation.run(config, tmp_path / "run", say=lambda line: None)
    assert "it has seen the test faces of fold 1" in str(caught.value)
    assert "held out (folds: 0)" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def described(fingerprint: str, fold: int | None, **source: object) -> Member:
    member = member_of_description()
    changed = dataclasses.replace(
        member.description,
        data=member.description.data | {"fingerprint": fingerprint},
        source={"fold": fold, **source},
    )
    return dataclasses.replace(member, description=changed)


def member_of_description() -> Member:
    from ageflax.bundle.description import Description
    from ageflax.bundle.inference import Variables
    from ageflax.bundle.model import Network

    description = Description.of_run(small_bundle.config_of(), small_bundle.RESULT)
    nothing = np.zeros((1, 1, 3), np.float32)
    variables = Variables({}, {}, nothing, nothing)
    return Member(description, Network(description), variables, Path("teacher"))


@pytest.mark.parametrize(
    ("seen", "kept"),
    [
        (described("here", 1), "1"),
        (described("here", None), "none"),
        (described("other", 0, weights={"trained_on": {"fingerprint": "here", "fold": 3}}), "3"),
        (described("here", 0, teachers=[{"trained_on": {"fingerprint": "here", "fold": 2}}]), "none"),
        (
            described(
                "other",
                4,
                teachers=[{"trained_on": {"fingerprint": "x", "fold": 1, "teachers": [
                    "damaged", {"fingerprint": "here", "fold": 4, "before": None}]}}],
            ),
            "4",
        ),
    ],
)  # fmt: skip
def test_teachers_are_refused_at_any_remove(seen, kept):
    with pytest.raises(
        InputError, match=rf"\(folds: {kept}\), so it has seen the test faces of fold 0"
    ):
        distillation.check_unseen({0: (described("other", 0), seen)}, SOURCE, print)


def test_teachers_of_the_same_fold_and_of_other_data_may_teach():
    said: list[str] = []
    members = (described("here", 0), described("other", 3))
    distillation.check_unseen({0: members}, SOURCE, said.append)
    (line,) = said
    assert line.startswith(
        "distill.teachers: teacher: the model was trained on another state of this"
    )


def test_a_student_is_tested_on_no_faces_of_its_teachers():
    student = described("mine", 0, teachers=[{"trained_on": {"fingerprint": "here", "fold": 2}}])
    assert unseen.allowed(student.description, "here") == {2}
    assert unseen.allowed(student.description, "mine") == {0}
    assert unseen.allowed(described("mine", 0, teachers="damaged").description, "here") == set(
        range(5)
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config.task=years"], "has no head for years, but age, gender"),
        (["--config.data.label_policy=intervals", "--config.data.intervals=((0, 9), (10, 90))"],
         "its classes of age differ from the run's"),
        (["--config.distill.teachers=('nowhere',)"], "distill.teachers: nowhere: not a bundle"),
        (["--config.distill.teachers=('gs://bucket/x',)"], "distill.teachers: gs://bucket/x: an address"),
    ],
)  # fmt: skip
def test_teachers_that_do_not_fit_are_refused(words, message, tmp_path):
    path = small_bundle.write(tmp_path / "bundle", "age+gender")
    config = config_of(tmp_path, *taught_by(path), *words)
    with pytest.raises(InputError) as caught:
        distillation.load(config, 0)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_each_fold_has_its_own_teachers_of_one_network(tmp_path):
    for fold in (0, 1):
        small_bundle.write(tmp_path / f"fold_{fold}" / "bundle", "age")
    other = Input(resize=32, crop=27, interpolation="bilinear", channels="rgb")
    small_bundle.write(tmp_path / "fold_2" / "bundle", "age", input=other)
    config = config_of(tmp_path, *taught_by(f"{tmp_path}/fold_{{fold}}"))
    members = {fold: distillation.load(config, fold) for fold in range(3)}
    assert [member.path.parent.name for (member,) in members.values()] == [
        "fold_0",
        "fold_1",
        "fold_2",
    ]
    assert len(distillation.networks({k: members[k] for k in (0, 1)})) == 1
    with pytest.raises(InputError, match="those of fold 2 have another network"):
        distillation.networks(members)
    assert distillation.networks({0: (), 1: ()}) == ()
