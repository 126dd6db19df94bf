import dataclasses
import re
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from ageflax import config as configuration
from ageflax.data.images import INTERPOLATIONS
from ageflax.errors import InputError
from ageflax.models import TRUNKS

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_resolves_and_is_locked(path):
    config = configuration.load(str(path))
    assert config.model.name in TRUNKS
    with pytest.raises(AttributeError, match="locked"):
        config.data.new_key = 1


def test_levi_is_the_papers_recipe():
    config = configuration.load("configs/levi.py")
    assert (config.data.resize, config.data.crop, config.data.batch_size) == (256, 227, 50)
    assert (config.optim.learning_rate, config.optim.momentum) == (1e-3, 0.9)
    assert (config.optim.weight_decay, config.steps) == (5e-4, 50_000)
    assert (config.optim.decay_every, config.optim.decay_factor) == (10_000, 0.1)
    assert config.model.dropout == 0.5
    assert config.data.label_policy == "strict"
    assert config.folds == (0, 1, 2, 3, 4)


def test_the_command_line_overrides_the_file_which_overrides_the_defaults():
    words = ["--config.data.crop=200", "--config.optim.learning_rate=1", "--config.data.mirror=false",
             "--config.folds=[1, 2]", "--config.epochs=2", "--config.data.name=a=b"]  # fmt: skip
    config = configuration.load("configs/levi.py", words)
    assert config.data.crop == 200
    assert config.optim.learning_rate == 1.0
    assert isinstance(config.optim.learning_rate, float)
    assert config.data.mirror is False
    assert config.folds == (1, 2)
    assert config.epochs == 2.0
    assert config.data.name == "a=b"
    assert configuration.load("configs/levi.py", ["--config.fold=3"]).folds == (3,)


def test_of_two_keys_that_say_the_same_thing_the_later_holds():
    assert configuration.load("configs/quickstart.py").epochs == 16.0
    config = configuration.load("configs/quickstart.py", ["--config.steps=20"])
    assert (config.steps, config.epochs) == (20, None)
    config = configuration.load("configs/levi.py", ["--config.epochs=2"])
    assert config.epochs == 2.0
    values = ConfigDict({"fold": 3})
    assert configuration.resolve(values).folds == (3,)
    assert configuration.resolve(values, ["--config.folds=(1, 2)"]).folds == (1, 2)
    with pytest.raises(InputError, match="the command line: gives both steps and epochs; give one"):
        configuration.load("configs/levi.py", ["--config.epochs=2", "--config.steps=3"])
    with pytest.raises(InputError, match="config: gives both folds and fold; give one"):
        configuration.resolve(ConfigDict({"fold": 3, "folds": (1,)}))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--config.data.resise=3", "--config.data.resise: unknown key; did you mean 'data.resize'?"),
        ("--config.data=3", "--config.data: unknown key; did you mean 'data.dir'?"),
        ("--config.data.resize=x", "--config.data.resize=x: expected int"),
        ("--config.data.resize=6.5", "--config.data.resize: data.resize = 6.5: expected int"),
        ("--config.data.resize=True", "--config.data.resize: data.resize = True: expected int"),
        ("--config.data.mirror=maybe", "--config.data.mirror=maybe: expected true or false"),
        ("--config.folds=3", "--config.folds: folds = 3: expected tuple"),
        ("--config.folds=()", "folds = (): name each test fold once, at least one"),
        ("--config.folds=(1, 1)", "folds = (1, 1): name each test fold once, at least one"),
        ("--config.fold=5", "fold 5 is out of range: a dataset has folds 0 to 4"),
        ("--config.fold=-1", "fold -1 is out of range: a dataset has folds 0 to 4"),
        ("--config.folds=(0, 'a')", "fold 'a' is out of range: a dataset has folds 0 to 4"),
        ("--config.task=aeg", "task = 'aeg': expected age, years or gender, or several as in years+gender; did you mean 'age'?"),
        ("--config.data.placement=gpu", "data.placement = 'gpu': not a choice; known: auto, device, host, stream"),
        ("--config.data.label_policy=strikt", "data.label_policy = 'strikt': not a choice; did you mean 'strict'?"),
        ("--config.model.name=levi_haßner", "model.name = 'levi_haßner': not a choice; did you mean 'levi_hassner'?"),
        ("--config.data.batch_size=0", "data.batch_size = 0: must lie in 1 to 1000000"),
        ("--config.optim.learning_rate=-1", "optim.learning_rate = -1.0: must lie in 0.0 to 1000.0"),
        ("--config.optim.learning_rate=nan", "--config.optim.learning_rate=nan: expected float"),
        ("--config.data.crop=257", "data.crop = 257 is larger than data.resize = 256"),
        ("--config.optim.lr_multipliers=((1, 2),)", "optim.lr_multipliers: (1, 2) is no (pattern, factor) pair"),
        ("--config.data.intervals=((0, 12), (13, 100))", "data.intervals and data.label_policy = 'intervals' go together: set both or neither"),
        ("--config.data.label_policy=intervals", "data.intervals and data.label_policy = 'intervals' go together: set both or neither"),
        ("--config.optim.decay_exempt=(1,)", "optim.decay_exempt: 1 is no pattern"),
        ("--confg.fold=1", "'--confg.fold=1' is no argument of this command; keys are --config.KEY=VALUE"),
        ("stray", "'stray' is no argument of this command; keys are --config.KEY=VALUE"),
        ("--config.fold", "'--config.fold' is no argument of this command; keys are --config.KEY=VALUE"),
        ("--config.steps=__import__('os')", "--config.steps=__import__('os'): expected int"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_told_in_one_line(word, message):
    with pytest.raises(InputError) as error:
        configuration.load("configs/levi.py", [word])
    assert str(error.value) == message


def test_keys_that_do_not_fit_each_other():
    words = ["--config.eval.checkpoint=best", "--config.data.validation=none"]
    with pytest.raises(InputError, match="needs validation faces"):
        configuration.load("configs/levi.py", words)
    words = ["--config.eval.protocol=hold_out", "--config.fold=2"]
    with pytest.raises(InputError, match="'hold_out' tests fold 4 alone"):
        configuration.load("configs/levi.py", words)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def get_config(:", "line 1: SyntaxError"),
        ("x = 1", "AttributeError"),
        ("\ndef get_config():\n    return 1 / 0", "line 3: ZeroDivisionError"),
        ("def get_config():\n    return {}", r"get_config\(\) must return a ConfigDict"),
        ("import ml_collections\ndef get_config():\n    return ml_collections.ConfigDict("
         "{'data': {'resise': 3}})", r"unknown key 'data.resise'; did you mean 'data.resize'\?"),
    ],
)  # fmt: skip
def test_a_config_file_that_cannot_be_used(content, message, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        configuration.load(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("intervals", "message"),
    [
        ("((0, 12), (12, 100))", "(12, 100): expected (low, high) in whole years"),
        ("((0, 12), (30, 20))", "(30, 20): expected (low, high) in whole years"),
        ("(3, 4)", "3: expected (low, high) in whole years"),
        ("((0, 12.5),)", "(0, 12.5): expected (low, high) in whole years"),
        ("((0, 100),)", "one class is nothing to learn; give two or more"),
    ],
)
def test_intervals_that_are_none(intervals, message):
    words = ["--config.data.label_policy=intervals", f"--config.data.intervals={intervals}"]
    with pytest.raises(InputError) as error:
        configuration.load("configs/levi.py", words)
    assert message in str(error.value)


def test_an_absent_config_file_names_the_nearest():
    with pytest.raises(InputError) as error:
        configuration.load("configs/levy.py")
    assert (
        str(error.value)
        == "--config=configs/levy.py: no such file; did you mean 'configs/levi.py'?"
    )


def test_only_what_changes_figures_makes_another_experiment():
    old = configuration.load("configs/levi.py").to_dict()
    same = configuration.load(
        "configs/levi.py",
        ["--config.fold=1", "--config.data.placement=host", "--config.data.workers=3"],
    )
    assert configuration.differing_keys(old, same) == []
    other = configuration.load("configs/levi.py", ["--config.data.crop=200"])
    assert configuration.differing_keys(old, other) == ["data.crop: 227 -> 200"]


def test_choices_agree_with_what_they_choose_from():
    for name in INTERPOLATIONS:
        values = ConfigDict({"data": {"interpolation": name}})
        assert configuration.resolve(values).data.interpolation == name
    assert list(configuration.MODEL_OPTIONS) == list(TRUNKS)


def test_options_of_the_trunks_are_their_attributes_with_their_defaults():
    for name, trunk in TRUNKS.items():
        attributes = {field.name: field.default for field in dataclasses.fields(trunk)}
        for shared in ("dtype", "parent", "name"):
            del attributes[shared]
        assert configuration.MODEL_OPTIONS[name] == attributes, name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--config.model.stem=small"],
            "model.stem: levi_hassner has no such option; it has width",
        ),
        (["--config.model.name=resnet34", "--config.model.stem=smal"], "did you mean 'small'"),
        (["--config.model.name=multitask_gray"], "multitask_gray sees grey alone"),
        (["--config.model.name=vit_b16"], "224 or 240 would do"),
        (["--config.task=years+ages"], "expected age, years or gender"),
        (["--config.task=age+age"], "expected age, years or gender"),
        (["--config.loss.balance=uncertainty"], "use task=joint"),
        (["--config.loss.label_smoothing=0.1", "--config.loss.age=corn"], "no task is trained by"),
        (["--config.loss.weights=(('gender', 2),)"], "'gender' is not trained"),
        (["--config.optim.accumulate=7"], "does not divide into optim.accumulate = 7 parts"),
        (["--config.optim.schedule=one_cycle", "--config.optim.warmup_steps=9"], "set optim.rise"),
        (["--config.transfer.unfreeze=(('trunk/.*', 5),)"], "nothing is frozen"),
        (["--config.transfer.cache_features=true"], "needs a trunk that stays frozen"),
        (["--config.transfer.sha256=00"], "transfer.weights, which is not set"),
        (["--config.eval.patience=3"], "set eval.checkpoint=best"),
        (["--config.task=gender", "--config.eval.figure=mae"], "gender has exact"),
        (["--config.model.head_hidden=(0,)"], "0 is no number of features"),
        (
            [
                "--config.transfer.frozen=('trunk/.*',)",
                "--config.transfer.cache_features=1",
                "--config.data.mixup=0.2",
            ],
            "data.mixup = 0.2: cached features see",
        ),
    ],
)
def test_keys_that_do_not_fit_each_other_are_told_in_one_line(words, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        configuration.load("configs/levi.py", words)
    assert "\n" not in str(caught.value)
