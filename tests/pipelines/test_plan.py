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


def test_sweeps_are_runs_for_all_combinations():
    made = runs.make(
        "a=quickstart,b=quickstart",
        ["--config.seed=5"],
        ["b:transfer.weights=run:a"],
        ["seed=0,1", "b:optim.learning_rate=1e-3,3e-3"],
    )
    assert [(r.name, r.config.seed, r.config.optim.learning_rate) for r in made.runs] == [
        ("a-seed_0", 0, 2e-3), ("a-seed_1", 1, 2e-3),
        ("b-seed_0-learning_rate_1e-3", 0, 1e-3), ("b-seed_0-learning_rate_3e-3", 0, 3e-3),
        ("b-seed_1-learning_rate_1e-3", 1, 1e-3), ("b-seed_1-learning_rate_3e-3", 1, 3e-3),
    ]  # fmt: skip
    # Each starts from the run of its own seed.
    assert [r.start.name for r in made.runs if r.start] == ["a-seed_0"] * 2 + ["a-seed_1"] * 2


def test_tuples_may_be_swept():
    made = runs.make("a=quickstart", [], [], ["folds=(0,1),(2,)"])
    assert [(run.name, run.folds) for run in made.runs] == [
        ("a-folds_01", (0, 1)),
        ("a-folds_2", (2,)),
    ]


@pytest.mark.parametrize(
    ("own", "sweeps", "message"),
    [
        ([], ["seed=1"], "--sweep=seed=1: expected KEY=VALUE,VALUE"),
        ([], ["seed"], "--sweep=seed: expected KEY=VALUE,VALUE"),
        ([], ["c:seed=1,2"], "no config is named 'c'; known names: a, b"),
        ([], ["sead=1,2"], "--config.sead: unknown key; did you mean 'seed'?"),
        ([], ["folds=0,(0,)"], "two runs would be named 'a-folds_0'"),
        (
            ["b:transfer.weights=run:a"],
            ["a:seed=1,2"],
            "run:a is swept over seed; sweep what starts",
        ),
    ],
)
def test_sweeps_that_mean_nothing_are_refused(own, sweeps, message):
    with refuses(message):
        runs.make("a=quickstart,b=quickstart", [], own, sweeps)
