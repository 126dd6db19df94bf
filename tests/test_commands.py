"""Every command of the READMEs and configs reads its arguments; those that a test can run, run.

A fenced block without a language holds commands, and nothing else: output and lists of files are `text`.
"""

import argparse
import importlib.util
import itertools
import shutil
import sys
import tomllib
from pathlib import Path

import cv2
import pytest
from tensorflow_datasets.scripts.cli import build, cli_utils

from ageflax.__main__ import _COMMANDS
from tests.conftest import SMALL_FACES
from tests.predict.conftest import decoded
from tests.support.commands import (
    CONFIGS,
    DOCUMENTS,
    READMES,
    ROOT,
    blocks,
    commands,
    indented_commands,
    inline_commands,
    without_uv,
)
from tfds_builders.synthetic_faces import drawing, population

# Where a command begins its work: its arguments have been read, and its config.
STARTS = {
    "ageflax.compare": "ageflax.compare.write",
    "ageflax.compile_for": "ageflax.compile_for.report.run",
    "ageflax.demo": "ageflax.demo.serving.run",
    "ageflax.evaluate": "ageflax.runtime.compilation_cache.enable",
    "ageflax.export": "ageflax.runtime.compilation_cache.enable",
    "ageflax.import_weights": "ageflax.import_weights.preprocessing.mean",
    "ageflax.main": "ageflax.runtime.compilation_cache.enable",
    "ageflax.predict": "ageflax.runtime.compilation_cache.enable",
    "ageflax.wash": "ageflax.data.building.find.open_built",
    "pipelines.compare": "pipelines.workflow.steps.engine",
    "pipelines.cross_validate": "pipelines.workflow.steps.engine",
    "pipelines.prepare": "pipelines.workflow.steps.engine",
}
# Other projects' commands, none of which is run: they install, or need a network or a cluster.
OTHERS = {"cd", "curl", "gcloud", "git", "pip", "pre-commit", "sbatch", "sh", "ssh_all", "sudo"}
# Commands of ours that are not run here, by a part of theirs, and why.
NOT_RUN = {
    "pipelines.": "processes for minutes; tests/pipelines runs them with small folds",
    "--num_processes=4": "four hosts; tests/runtime/test_processes.py runs as many processes",
    "--distributed": "a TPU slice",
    "ageflax.compile_for": "TPU's compiler is not among the tests' packages; tests/compile_for",
    "ageflax.demo": "serves until it is stopped; tests/demo",
    "ageflax.import_weights": "published weights; tests/import_weights converts files like them",
    "imdb_wiki/": "its pictures are licensed; tfds_builders/imdb_wiki builds drawn ones",
    "--config.model.name=resnet18": "its network trains in tests/models; each config in tests/config",
    "levi.py --config.data.manual_dir": "Adience's archives; tfds_builders/adience builds drawn ones",
    "config.task=": "the quickstart has both heads",
    "intervals=": "other classes of the same network; tests/training",
    "levi.py --config.eval.crops=ten": "evaluation by ten crops is run",
    "--photos=FGNET": "no detector that is installed finds a drawn face; tests/predict/photographs",
    "faces_scratch": "each config takes a step in tests/config/test_configs.py",
    "faces_age": "weights of an extra; each config takes a step in tests/config/test_configs.py",
}
# As tests.conftest.small_values, whose program other tests compile too.
SMALL = {
    "data.name": SMALL_FACES, "data.resize": 32, "data.crop": 27, "data.batch_size": 16,
    "model.width": 0.05, "model.norm": "batch", "model.initialization": "matched",
    "optim.learning_rate": 1e-4, "steps": 2, "fold": 0,
    "eval.every": 2, "eval.log_every": 2, "eval.batch_size": 16,
}  # fmt: skip
# Documented words before which a small setting gives way.
EXCLUSIVE = {"epochs": "steps", "eval.protocol=hold_out": "fold"}


class Started(BaseException):
    """A command has begun its work."""


def _stop(*_given, **_named):
    raise Started


def _stop_when_parsed(monkeypatch):
    """Stops a command of tests, which has no other mark, once its arguments are parsed."""
    parse = argparse.ArgumentParser.parse_known_args

    def known(parser, words=None, namespace=None):
        parse(parser, words, namespace)
        raise Started

    def all_known(parser, words=None, namespace=None):
        _, unknown = parse(parser, words, namespace)
        assert not unknown
        raise Started

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", known)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", all_known)


def _module(words):
    """Module of one of our commands, and its arguments; None for a command of another project."""
    if words[:2] == ["python", "-m"]:
        return words[2], words[3:]
    if words[0] == "ageflax":
        return _COMMANDS[words[1]][0], words[2:]
    return None, words


def _main(module):
    try:
        return importlib.import_module(f"{module}.__main__").main
    except ModuleNotFoundError:
        found = importlib.import_module(module)
        return found.main if hasattr(found, "main") else lambda: found._parser().parse_args()


def _read_by_tfds(words):
    """Parses as the tfds command does; the dataset is one of ours."""
    if words[1] == "convert_format":  # imports TensorFlow
        return
    parsed = cli_utils.make_flags_parser(build.Args, description="")(["tfds", *words[2:]])
    for dataset in parsed.positional_datasets:
        folder = ROOT / "tfds_builders" / Path(dataset).name
        assert (folder / f"{folder.name}_dataset_builder.py").is_file()


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Folder of a reader: the photographs and runs that commands name."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "configs").symlink_to(ROOT / "configs")
    faces = [drawing.photograph(p, 0, size=128, seed=0) for p in population.populate(40, 0)]
    listed = [f"{k}.jpg" for k in range(len(faces))]
    named = {".": ["photo.jpg", "face.jpg", "family.jpg"], "folder": ["a.jpg"], "trip": ["b.jpg"], "faces": ["c.jpg"],
             "FOLDER": listed, "FGNET": ["001A30.JPG"],
             "UTKFace": ["30_1_0_20170104023102422.jpg"]}  # fmt: skip
    for place, names in named.items():
        (folder / place).mkdir(exist_ok=True)
        for name, face in zip(names, faces, strict=False):
            (folder / place / name).write_bytes(face)
    rows = [f"{name},{(1, 5, 10, 17, 28, 40, 50, 70)[k % 8]}" for k, name in enumerate(listed)]
    (folder / "FOLDER" / "labels.csv").write_text("\n".join(["path,age", *rows]))
    clip = cv2.VideoWriter(
        str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (128, 128)
    )
    for _ in range(3):
        clip.write(decoded(faces[0]))
    clip.release()
    return folder


def _ids(pairs):
    return [f"{path.relative_to(ROOT)}: {' '.join(words)}"[:120] for path, words in pairs]


FENCED = [(path, words) for path in DOCUMENTS for words in commands(path)]
INLINE = [(path, words) for path in DOCUMENTS for words in inline_commands(path)]
INDENTED = [(path, words) for path in (*DOCUMENTS, *CONFIGS) for words in indented_commands(path)]
WRITTEN = FENCED + INLINE + INDENTED


@pytest.mark.parametrize(("document", "words"), WRITTEN, ids=_ids(WRITTEN))
def test_its_arguments_are_read(document, words, reader, monkeypatch):
    monkeypatch.chdir(reader)
    if words[0] == "uv":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        for option, name in itertools.pairwise(words):
            assert option != "--extra" or name in project["project"]["optional-dependencies"]
            assert option != "--group" or name in project["dependency-groups"]
    module, given = _module(without_uv(words))
    if module is not None and module.startswith("tests.golden."):
        assert importlib.util.find_spec(module) is not None and not given  # has no parser
        return
    if module is None:
        if given[0] == "tfds":
            _read_by_tfds(given)
        elif given[0] in ("pytest", ".ci/run"):
            paths = [given[0], *given[1:]] if given[0] == ".ci/run" else given[1:]
            assert all((ROOT / path).exists() for path in paths if "/" in path)
        else:
            assert given[0] in OTHERS
        return
    if module.startswith("tests."):
        _stop_when_parsed(monkeypatch)
    else:
        monkeypatch.setattr(STARTS[module], _stop)
    given = [word.removesuffix("K") + "0" if word.endswith("=K") else word for word in given]
    monkeypatch.setattr(sys, "argv", [module, *given])
    with pytest.raises(Started):
        _main(module)()


def _reason(words):
    """Why a command is not run here; None if it is."""
    if _module(without_uv(words))[0] is None:
        return "another project's"
    return next((why for part, why in NOT_RUN.items() if part in " ".join(words)), None)


RUN = [(path, words) for path, words in FENCED if _reason(words) is None]
# Training first: the other commands name its runs.
RUN.sort(key=lambda pair: "ageflax.main" not in pair[1])


def _small(given, data_dir, runs):
    """Small settings for a command that trains; they come first, so that its own words hold."""
    config, *own = given
    values = {**SMALL, "data.dir": data_dir}
    for word, key in EXCLUSIVE.items():
        if any(word in own_word for own_word in own):
            del values[key]
    name = Path(config.partition("=")[2]).stem
    if (runs / name).exists():
        own.append(f"--workdir={runs / name}_{len(list(runs.iterdir()))}")
    return [config, *(f"--config.{key}={value}" for key, value in values.items()), *own]


def _complete(folder):
    """Gives a reader's folder the other runs and the model that commands name."""
    for name, others in {"levi": ("resnet34", "multitask"), "quickstart": ("other",)}.items():
        for run in (folder / "runs" / other for other in others):
            if not run.exists():
                shutil.copytree(folder / "runs" / name, run)
    names = {"MODEL": "levi/fold_0", "PATH": "quickstart/fold_0", "runs/faces_age": "quickstart"}
    for name, run in names.items():
        if not (folder / name).exists():
            (folder / name).symlink_to(folder / "runs" / run)


@pytest.mark.parametrize(("document", "words"), RUN, ids=_ids(RUN))
def test_it_runs(
    document, words, reader, data_dir, small_faces, loose_promotion, monkeypatch, capfd
):
    monkeypatch.chdir(reader)
    module, given = _module(without_uv(words))
    assert module is not None
    if module == "ageflax.main":
        given = _small(given, data_dir, reader / "runs")
    else:
        _complete(reader)
    if module == "ageflax.wash":
        given = [*given, f"--data.dir={data_dir}"]
    with (reader / "photo.jpg").open() as photograph:
        monkeypatch.setattr(sys, "stdin", photograph)  # for `predict -`
        monkeypatch.setattr(sys, "argv", [module, *given])
        code = _main(module)()
    assert code == 0, capfd.readouterr().err


PYTHON = [(path, source) for path in READMES for source in blocks(path, "python")
          if "download_and_prepare" not in source and "tfds." not in source]  # fmt: skip


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a sample may leave a file open
@pytest.mark.parametrize(
    ("document", "source"), PYTHON, ids=[str(path.relative_to(ROOT)) for path, _ in PYTHON]
)
def test_its_python_runs(document, source, reader, capfd, monkeypatch):
    """Datasets' own lines need their archives; the builders' tests have drawn ones."""
    monkeypatch.chdir(reader)
    _complete(reader)
    exec(compile(source, str(document), "exec"), {})  # noqa: S102


def test_what_is_not_run_is_still_written():
    written = [" ".join(words) for _, words in FENCED]
    assert all(any(part in words for words in written) for part in NOT_RUN)
    assert {without_uv(words)[0] for _, words in FENCED} >= OTHERS
