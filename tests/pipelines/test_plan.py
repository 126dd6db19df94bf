import re

import pytest

from ageflax.errors import InputError
from pipelines.plan import runs


def refuses(message: str):
    return pytest.raises(InputError, match=re.escape(message))


def test_names_are_file_stems_or_labels_and_keys_are_for_all_or_for_one():
    made = runs.make(
        "quickstart,narrow=quickstart",
        ["--config.seed=5", "--config.folds=(0,3)"],
        ["narrow:model.width=0.1", "narrow:seed=6"],
    )
    assert [(run.name, run.file) for run in made.runs] == [
        ("quickstart", "configs/quickstart.py"), ("narrow", "configs/quickstart.py"),
    ]  # fmt: skip
    first, second = made.runs
    assert (first.config.seed, first.config.model.width) == (5, 0.35)
    assert (second.config.seed, second.config.model.width) == (6, 0.1)
    assert first.folds == second.folds == (0, 3)
    # The fold is each job's own word.
    assert second.overrides == ("--config.seed=5", "--config.model.width=0.1", "--config.seed=6")
    assert made.refused == {}


def test_hold_out_has_one_fold():
    (run,) = runs.make("quickstart", ["--config.eval.protocol=hold_out"], []).runs
    assert run.folds == (4,)


@pytest.mark.parametrize(
    ("configs", "common", "own", "message"),
    [
        ("quickstart,quickstart", [], [], "'quickstart' is given twice; use labels"),
        ("quickstart,", [], [], "--configs=quickstart,: expected names"),
        ("a/b=quickstart", [], [], "invalid name 'a/b'"),
        ("levy", [], [], "no such file; did you mean 'levi'?"),
        ("quickstart", ["--job=3"], [], "'--job=3': unknown argument"),
        ("quickstart", ["--config.sead=3"], [], "--config.sead: unknown key; did you mean 'seed'?"),
        ("quickstart", [], ["levi:seed=1"], "no config is named 'levi'; known names: quickstart"),
        ("quickstart", [], ["seed=1"], "--set=seed=1: expected NAME:KEY=VALUE"),
        ("quickstart", [], ["quickstart:transfer.weights=run:x"], "no such run; known names: quickstart"),
        ("quickstart", [], ["quickstart:transfer.weights=run:a/9"], "expected run:NAME or run:NAME/FOLD"),
        ("quickstart", [], ["quickstart:transfer.weights=run:quickstart"], "cannot run before it"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(configs, common, own, message):
    with refuses(message):
        runs.make(configs, common, own)


def test_a_config_that_cannot_be_used_does_not_stop_the_others():
    made = runs.make("good=quickstart,bad=quickstart", [], ["bad:data.crop=999"])
    assert [run.name for run in made.runs] == ["good"]
    assert made.refused == {"bad": "data.crop = 999 is larger than data.resize = 64"}


def test_a_run_that_starts_from_another_comes_after_it():
    made = runs.make(
        "tuned=quickstart,base=quickstart,fixed=quickstart",
        [],
        ["tuned:transfer.weights=run:base", "fixed:transfer.weights=run:base/2"],
    )
    assert [run.name for run in made.runs] == ["base", "tuned", "fixed"]
    assert [run.start for run in made.runs] == [
        None, runs.Start("base", None), runs.Start("base", 2),
    ]  # fmt: skip
    assert made.runs[1].config.transfer.weights == "run:base"
    assert not any("weights" in word for run in made.runs for word in run.overrides)


def test_what_starts_from_a_refused_run_is_refused_too():
    made = runs.make(
        "good=quickstart,base=quickstart,tuned=quickstart",
        [],
        ["base:data.crop=999", "tuned:transfer.weights=run:base"],
    )
    assert [run.name for run in made.runs] == ["good"]
    assert set(made.refused) == {"base", "tuned"}
    assert made.refused["tuned"] == "starts from run 'base', which cannot run before it"
