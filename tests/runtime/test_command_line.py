"""The frame that all commands share: option names, lazy help, exit codes."""

import argparse
import importlib
import subprocess
import sys
import time
from typing import Any

import pytest

from ageflax.errors import InputError, RunError
from ageflax.runtime import command_line

COMMANDS = (
    "ageflax.main", "ageflax.evaluate", "ageflax.compare", "ageflax.wash", "ageflax.predict",
    "ageflax.predict.framing", "ageflax.demo", "ageflax.export", "ageflax.import_weights",
    "ageflax.compile_for", "pipelines.cross_validate", "pipelines.compare", "pipelines.prepare",
    "pipelines.dataset", "pipelines.quality",
)  # fmt: skip


@pytest.fixture
def parser() -> command_line.Parser:
    parser = command_line.parser("some.command", "Does something.", "The end.")
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--crop_margin", type=float)
    parser.add_argument("--data.manual_dir", dest="manual_dir")
    parser.add_argument("--max_pixels", action="append")
    parser.add_argument("--name")
    parser.add_argument_group("of a group").add_argument("--dry_run", action="store_true")
    return parser


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--crop_margin=0.2"], {"crop_margin": 0.2}),
        (["--crop-margin=0.2"], {"crop_margin": 0.2}),
        (["--crop-margin", "-0.2"], {"crop_margin": -0.2}),
        (["--data.manual-dir=a-b/c-d"], {"manual_dir": "a-b/c-d"}),
        (["--max-pixels=1", "--max_pixels", "2"], {"max_pixels": ["1", "2"]}),
        (["--dry-run"], {"dry_run": True}),
        (["--name=--crop-margin"], {"name": "--crop-margin"}),
        (["--name=a=--dry-run"], {"name": "a=--dry-run"}),
        (["crop-margin", "-", "a--dry-run"], {"paths": ["crop-margin", "-", "a--dry-run"]}),
        (["--dry-run", "--", "--dry-run"], {"dry_run": True, "paths": ["--dry-run"]}),
    ],
)
def test_hyphens_stand_for_underscores_in_option_names_alone(parser, words, expected):
    given = vars(parser.parse_args(words))
    defaults = vars(parser.parse_args([]))
    assert given == defaults | expected


def test_config_words_are_left_as_they_are(parser):
    words = ["--config.data.crop-margin=1", "--config.model.name=vit-b", "--crop-marg=1"]
    assert parser.parse_known_args([*words, "--dry-run"])[1] == words


def test_a_wrong_value_names_the_option_by_its_underscores(parser, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--crop-margin=wide"])
    assert ended.value.code == 2
    assert "argument --crop_margin: invalid float value: 'wide'" in capsys.readouterr().err


@pytest.fixture
def options(monkeypatch) -> dict[str, list[argparse.Action]]:
    """The options of every command by its name; parsing `--help` collects them."""
    seen: dict[str, list[argparse.Action]] = {}

    def collected(self, file=None):
        seen[self.prog.removeprefix("python -m ")] = self._actions

    monkeypatch.setattr(argparse.ArgumentParser, "print_help", collected)
    for name in COMMANDS:
        module = importlib.import_module(name)
        if hasattr(module, "__path__"):
            module = importlib.import_module(f"{name}.__main__")
        with pytest.raises(SystemExit) as ended:
            module.main(["--help"])
        assert ended.value.code == 0
    assert set(seen) == set(COMMANDS)
    return seen


def test_no_option_has_a_hyphen(options):
    names = {
        name for actions in options.values() for each in actions for name in each.option_strings
    }
    assert not {name for name in names if name.startswith("--") and "-" in name[2:]}


PATHS = {"BUNDLE", "DETECTOR", "DIR", "FILE", "FILE.html", "FILE.json", "FOLDER", "MEAN", "MODEL", "PATH", "RUN"}  # fmt: skip


def test_every_option_that_names_a_path_expands_a_home(options, monkeypatch):
    monkeypatch.setenv("HOME", "/home/of")
    found = {
        (name, action.dest): str(action.type("~/a") if callable(action.type) else action.type)
        for name, actions in options.items()
        for action in actions
        if action.metavar in PATHS and action.dest != "known"
    }
    assert len(found) > 30
    assert {key: path for key, path in found.items() if path != "/home/of/a"} == {}


def test_a_late_epilog_is_built_for_help_alone(capsys):
    built = []

    def epilog() -> str:
        built.append(True)
        return "All keys."

    parser = command_line.parser("some.command", "Does something.", epilog)
    parser.parse_args([])
    with pytest.raises(SystemExit):
        parser.parse_args(["--wrong"])
    assert not built
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    assert "All keys." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1), ("9", 9), ("0", None), ("10", None), ("-1", None), ("²", None)]
)
def test_whole_numbers_have_bounds(text, number):
    parsed = command_line.whole_number(1, 9)
    if number is None:
        with pytest.raises(argparse.ArgumentTypeError, match=r"expected a whole number, 1 to 9"):
            parsed(text)
    else:
        assert parsed(text) == number


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a: wrong; do b"), 2, "some: a: wrong; do b"),
        (RunError("the loss is not finite"), 1, "some: the loss is not finite"),
        (OSError(28, "No space left on device", "x"), 1, "some: x: No space left on device"),
        (OSError("without a number"), 1, "some: without a number"),
        (KeyboardInterrupt(), 130, "some: stopped"),
        (command_line.preemption.Preempted(), 143, "some: stopped by SIGTERM; the same command resumes"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_an_exit_code(error, code, line, capsys):
    def fail() -> None:
        raise error

    assert command_line.run("some", fail, interrupted="stopped") == code
    assert capsys.readouterr().err == f"{line}\n"
    assert command_line.run("some", lambda: None) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_quick_and_complete(name):
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", name, "--help"], capture_output=True, text=True, check=True
    )
    # A second on a quiet machine; the tests share it.
    assert time.monotonic() - started < 5
    assert done.stdout.startswith(f"usage: python -m {name} ")
    assert done.stderr == ""


def test_an_ended_command_leaves_its_modules_out_of_garbage_collection():
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(len(gc.get_objects()), gc.get_freeze_count() > 1000))\n"
        "from ageflax.runtime import command_line\n"
        "for _ in range(2):\n"
        "    command_line.run('some', lambda: atexit.register(print, 'closed'))\n"
        "assert not gc.get_freeze_count()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *closed, last = done.stdout.splitlines()
    assert closed == ["closed", "closed"]  # what the command left to do comes before
    left, frozen = last.split()
    assert (int(left) < 100, frozen) == (True, "True")


def ageflax(*words: str, **options: Any) -> subprocess.CompletedProcess:
    command = [sys.executable, "-X", "importtime", "-m", "ageflax", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_one_name_has_every_command(capsys):
    from ageflax import __main__ as entry

    modules = {module for module, _ in entry._COMMANDS.values()}
    assert modules == set(COMMANDS) - {"pipelines.dataset", "pipelines.quality"}
    done = ageflax("--help")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "usage: ageflax COMMAND ...")
    assert " jax" not in done.stderr


def test_a_command_by_that_name_is_the_module_with_its_words():
    done = ageflax("import-weights", "--help")
    assert (done.returncode, done.stdout.split("[")[0]) == (0, "usage: ageflax import_weights ")
    done = ageflax("pradict", "x.jpg")
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, last) == (
        2,
        "ageflax: 'pradict': no such command; did you mean 'predict'?",
    )
    done = ageflax("predict", "--thrashold=1")
    assert (done.returncode, done.stderr.count("ageflax predict: unrecognized")) == (2, 1)
