import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict

from ageflax import config as configuration
from ageflax import labels
from ageflax.config import meaning
from ageflax.data.images import INTERPOLATIONS
from ageflax.errors import InputError
from ageflax.models import TRUNKS

TAUGHT = ["--config.distill.teachers=('x',)", "--config.distill.weight=0.5"]
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_resolves_to_a_frozen_config(path):
    config: Any = configuration.load(str(path))
    assert config.model.name in TRUNKS
    for group in (config, config.data, config.optim):
        with pytest.raises(dataclasses.FrozenInstanceError):
            group.name = "other"


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
        ("--config.data.resize=6.5", "--config.data.resize=6.5: expected int"),
        ("--config.data.resize=True", "--config.data.resize=True: expected int"),
        ("--config.data.mirror=maybe", "--config.data.mirror=maybe: expected true or false"),
        ("--config.folds=0-2", "--config.folds=0-2: expected folds such as (0, 3)"),
        ("--config.folds=None", "--config.folds=None: expected folds such as (0, 3)"),
        ("--config.model.norm=None", "model.norm = 'None': not a choice; did you mean 'none'?"),
        ("--config.data.mirror=None", "--config.data.mirror=None: expected true or false"),
        ("--config.steps=1e400", "--config.steps=1e400: expected int"),
        ("--config.steps=0.5", "--config.steps=0.5: expected int"),
        ("--config.folds=()", "folds = (): name at least one test fold, each once"),
        ("--config.folds=(1, 1)", "folds = (1, 1): name at least one test fold, each once"),
        ("--config.fold=5", "fold = 5: must be between 0 and 4"),
        ("--config.fold=-1", "fold = -1: must be between 0 and 4"),
        ("--config.folds=(0, 7)", "folds: 7: must be between 0 and 4"),
        ("--config.folds=(0, 'a')", "folds: 'a': expected folds such as (0, 3)"),
        ("--config.task=aeg", "task = 'aeg': expected age, years or gender, or several as in years+gender; did you mean 'age'?"),
        ("--config.data.placement=gpu", "data.placement = 'gpu': not a choice; known: auto, device, host, stream"),
        ("--config.data.label_policy=strikt", "data.label_policy = 'strikt': not a choice; did you mean 'strict'?"),
        ("--config.model.name=levi_haßner", "model.name = 'levi_haßner': not a choice; did you mean 'levi_hassner'?"),
        ("--config.data.batch_size=0", "data.batch_size = 0: must be between 1 and 1000000"),
        ("--config.optim.learning_rate=-1", "optim.learning_rate = -1.0: must be between 0.0 and 1000.0"),
        ("--config.optim.learning_rate=nan", "--config.optim.learning_rate=nan: expected float"),
        ("--config.data.crop=257", "data.crop = 257 is larger than data.resize = 256"),
        ("--config.optim.lr_multipliers=((1, 2),)", "optim.lr_multipliers: (1, 2): expected (pattern, factor) pairs"),
        ("--config.data.intervals=((0, 12), (13, 100))", "data.intervals: goes with data.label_policy = 'intervals'; set both or neither"),
        ("--config.data.label_policy=intervals", "data.intervals: goes with data.label_policy = 'intervals'; set both or neither"),
        ("--config.optim.decay_exempt=(1,)", "optim.decay_exempt: 1: expected patterns such as ('trunk/.*',)"),
        ("--confg.fold=1", "'--confg.fold=1': unknown argument; did you mean --config.fold=VALUE?"),
        ("--lr=0.1", "'--lr=0.1': unknown argument; did you mean --config.optim.learning_rate=VALUE?"),
        ("stray", "'stray': unknown argument; config keys are set by --config.KEY=VALUE"),
        ("--config.fold", "'--config.fold': unknown argument; did you mean --config.fold=VALUE?"),
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
    with pytest.raises(InputError, match="'hold_out' tests fold 4 only"):
        configuration.load("configs/levi.py", words)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def get_config(:", "line 1: SyntaxError"),
        ("x = 1", r"mine\.py: no get_config\(\); define it as in configs/quickstart\.py"),
        ("\ndef get_config():\n    return 1 / 0", "line 3: ZeroDivisionError"),
        ("def get_config():\n    return {}", r"get_config\(\) must return an ml_collections.ConfigDict"),
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


_HEAD = "from ml_collections import ConfigDict\ndef get_config():\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        # Python's own errors, in the file although a library raises them.
        ("    config = ConfigDict()\n    config.steps = 3\n    config.steps = 'many'\n",
         "line 5: TypeError: Could not override field 'steps'"),
        ("    config = ConfigDict()\n    config.optm.name = 'sgd'\n", "line 4: AttributeError: "),
        ("    return missing\n", "line 3: NameError: name 'missing' is not defined"),
        ("    import no_such_module\n", "line 3: ModuleNotFoundError: No module named 'no_such_module'"),
        ("    return ConfigDict({'steps': 1\n", "line 3: SyntaxError: '{' was never closed"),
        # Keys and values, however they are written.
        ("    config = ConfigDict()\n    config.steps = 10  # steps = 3\n    config.lr = 1.0\n"
         "    return config\n", "line 5: unknown key 'lr'; did you mean 'optim.learning_rate'?"),
        ("    return ConfigDict({'data': {\n        'batch_size': '50',\n    }})\n",
         "line 4: data.batch_size = '50': expected int"),
        ("    return ConfigDict(dict(data=dict(\n        batch_size=0)))\n",
         "line 4: data.batch_size = 0: must be between 1 and 1000000"),
        ("    config = ConfigDict({'data': {}, 'eval': {'batch_size': 7}})\n"
         "    config.data.batch_size = 0\n    return config\n",
         "line 4: data.batch_size = 0: must be between 1 and 1000000"),
        ("    config = ConfigDict({'data': {}})\n    config['data']['crop'] = 300\n    return config\n",
         "line 4: data.crop = 300 is larger than data.resize = 256"),
        # No line is better than a wrong one.
        ("    data, tests = {'batch_size': 0}, {'batch_size': 7}\n"
         "    return ConfigDict({'data': data, 'eval': tests})\n",
         "line 3: data.batch_size = 0: must be between 1 and 1000000"),
        ("    data = {'batch_size': 0}\n    tests = {'batch_size': 7}\n"
         "    return ConfigDict({'data': data, 'eval': tests})\n",
         "data.batch_size = 0: must be between 1 and 1000000"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_config_file_names_the_file_and_the_line(body, message, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(_HEAD + body)
    with pytest.raises(InputError) as error:
        configuration.load(str(path))
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_a_value_of_the_command_line_is_not_laid_to_the_file(tmp_path):
    path = config_file(tmp_path / "mine.py", data__crop=200, data__resize=220)
    with pytest.raises(InputError) as error:
        configuration.load(path, ["--config.data.resize=100"])
    assert str(error.value) == "data.crop = 200 is larger than data.resize = 100"


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("steps=1e4", "steps", 10_000),
        ("data.resize=256.0", "data.resize", 256),
        ("fold=2.0", "folds", (2,)),
        ("folds=0", "folds", (0,)),
        ("folds=0,2", "folds", (0, 2)),
        ("model.head_hidden=64", "model.head_hidden", (64,)),
        ("transfer.frozen='trunk/.*'", "transfer.frozen", ("trunk/.*",)),
        ("epochs=None", "epochs", None),
        ("fold=None", "folds", (0, 1, 2, 3, 4)),
        ("model.dropout=None", "model.dropout", 0.5),
        ("model.activation=None", "model.activation", "relu"),
        ("data.dir=None", "data.dir", ""),
        ("transfer.weights=None", "transfer.weights", ""),
        ("data.intervals=None", "data.intervals", ()),
    ],
)
def test_a_value_is_read_as_it_is_meant(word, key, value):
    config = configuration.load("configs/levi.py", [f"--config.{word}"])
    found = dict(configuration.flatten(config))[key]
    assert found == value
    assert type(found) is type(value)


def test_a_home_is_expanded_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/of")
    paths = [name for name, key in configuration.KEYS.items() if key.path]
    assert paths == ["data.dir", "data.manual_dir", "transfer.weights"]
    config = configuration.load("configs/levi.py", [f"--config.{name}=~/a" for name in paths])
    found = dict(configuration.flatten(config))
    assert {found[name] for name in paths} == {"/home/of/a"}
    hub = configuration.load("configs/levi.py", ["--config.transfer.weights=hf://owner/name"])
    assert hub.transfer.weights == "hf://owner/name"


def test_a_bucket_in_a_file_names_its_line(tmp_path):
    path = config_file(tmp_path / "mine.py", data__dir="gs://bucket/data")
    with pytest.raises(InputError) as error:
        configuration.load(path)
    assert str(error.value).startswith(
        f"{path}: line 5: data.dir = gs://bucket/data: an address, not"
    )


def test_none_on_the_command_line_unsets_the_files_value(tmp_path):
    path = config_file(tmp_path / "mine.py", fold=3, epochs=2.0, model__dropout=0.1)
    words = ["--config.fold=None", "--config.epochs=None", "--config.model.dropout=None"]
    config = configuration.load(path, words)
    assert config == configuration.Config(model=config.model)
    assert config.model.dropout == 0.5


def test_a_file_may_unset_steps_beside_epochs_and_write_them_as_a_float(tmp_path):
    path = config_file(tmp_path / "mine.py", steps=None, epochs=2, data__batch_size=1e2, folds=4)
    config = configuration.load(path)
    assert (config.epochs, config.data.batch_size, config.folds) == (2.0, 100, (4,))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("batch_size", "data.batch_size"),
        ("optim.batch_size", "data.batch_size"),
        ("lr", "optim.learning_rate"),
        ("optim.lr", "optim.learning_rate"),
        ("learning-rate", "optim.learning_rate"),
        ("model.learning_rate", "optim.learning_rate"),
        ("train.epochs", "epochs"),
        ("num_epochs", "epochs"),
        ("max_steps", "steps"),
        ("optimizer", "optim.name"),
        ("weight_decay", "optim.weight_decay"),
        ("backbone", "model.name"),
        ("dropout", "model.dropout"),
        ("dataset", "data.name"),
        ("num_workers", "data.workers"),
        ("data.resise", "data.resize"),
        ("sed", "seed"),
    ],
)
def test_an_unknown_key_names_the_one_that_is_meant(name, meant):
    with pytest.raises(InputError) as error:
        configuration.load("configs/levi.py", [f"--config.{name}=3"])
    assert str(error.value) == f"--config.{name}: unknown key; did you mean {meant!r}?"


def test_names_from_elsewhere_lead_to_keys_that_exist():
    assert set(meaning._ELSEWHERE.values()) <= set(configuration.KEYS)
    assert not set(meaning._ELSEWHERE) & set(configuration.KEYS)


@pytest.mark.parametrize(
    ("intervals", "message"),
    [
        ("((0, 12), (12, 100))", "(12, 100): expected (low, high) in whole years"),
        ("((0, 12), (30, 20))", "(30, 20): expected (low, high) in whole years"),
        ("(3, 4)", "3: expected (low, high) in whole years"),
        ("((0, 12.5),)", "(0, 12.5): expected (low, high) in whole years"),
        ("((0, 100),)", "a single class leaves nothing to learn; give two or more"),
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


def test_keys_that_a_record_lacks_are_defaults_and_keys_that_are_gone_are_said():
    config = configuration.load("configs/levi.py")
    flat = dict(configuration.flatten(config))
    for name in flat:
        old = config.to_dict()
        group, _, leaf = name.rpartition(".")
        del (old[group] if group else old)[leaf]
        assert configuration.differing_keys(old, config) == [], name
    old = config.to_dict()
    old["model"]["init"] = "gaussian"
    assert configuration.differing_keys(old, config) == []
    old["model"]["init"] = "he"
    assert configuration.differing_keys(old, config) == ["model.init: 'he' -> no longer a key"]


def test_validations_may_change_where_the_last_checkpoint_is_tested():
    for words, differing in (
        ((), []),
        (["--config.eval.checkpoint=best"], ["eval.every: 1000 -> 7"]),
    ):
        old = configuration.load("configs/levi.py", words).to_dict()
        new = configuration.load("configs/levi.py", [*words, "--config.eval.every=7"])
        assert configuration.differing_keys(old, new) == differing


def test_choices_agree_with_what_they_choose_from():
    assert set(configuration.KEYS["data.interpolation"].choices) == set(INTERPOLATIONS)
    assert configuration.KEYS["data.label_policy"].choices == labels.LABEL_POLICIES
    assert configuration.KEYS["model.name"].choices == tuple(TRUNKS)


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
        (["--config.model.name=multitask_gray"], "multitask_gray needs 'grey'"),
        (["--config.model.name=vit_b16"], "use 224 or 240"),
        (["--config.task=years+ages"], "expected age, years or gender"),
        (["--config.task=age+age"], "expected age, years or gender"),
        (["--config.loss.balance=uncertainty"], "use task=joint"),
        (
            ["--config.distill.weight=0.5"],
            "distill.weight = 0.5: needs distill.teachers, which is not",
        ),
        (["--config.distill.temperature=2"], "distill.temperature = 2.0: needs distill.teachers"),
        (["--config.distill.teachers=('x',)"], "distill.weight is 0; set it above 0, up to 1"),
        (TAUGHT, "data.mean = 'image' cannot be taken back from a crop"),
        (
            [*TAUGHT, "--config.data.mean=channel", "--config.data.channels=grey"],
            "distill.teachers: data.channels = 'grey' hides colours",
        ),
        (
            [*TAUGHT, "--config.task=years", "--config.loss.years=huber"],
            "distill.teachers: loss.years = 'huber' has no distribution",
        ),
        (
            [
                *TAUGHT,
                "--config.data.mean=channel",
                "--config.transfer.frozen=('trunk/.*',)",
                "--config.transfer.cache_features=true",
            ],
            "distill.teachers: cached features show them no pixels",
        ),
        ([*TAUGHT, "--config.distill.weight=1.5"], "distill.weight = 1.5: must be between"),
        (["--config.eval.age=median"], "eval.age = 'median': needs a distribution over years"),
        (["--config.eval.age=mode"], "eval.age"),
        (
            ["--config.task=years", "--config.loss.years=l1", "--config.eval.age=median"],
            "eval.age = 'median': loss.years = 'l1' has no distribution",
        ),
        (["--config.data.balance=1.01"], "data.balance = 1.01: must be between 0"),
        (["--config.data.balance=0.5", "--config.data.balance_by=gender"], "needs the task gender"),
        (["--config.data.balance=0.5", "--config.data.balance_by=years"], "data.balance_by"),
        (
            ["--config.task=gender", "--config.data.balance=0.5"],
            "data.balance_by = 'age': needs the task age or years; add it to task",
        ),
        (
            [
                "--config.task=years",
                "--config.data.balance=1",
                "--config.data.balance_by=age+gender",
            ],
            "data.balance_by = 'age+gender': needs the task gender",
        ),
        (
            ["--config.loss.label_smoothing=0.1", "--config.loss.age=corn"],
            "needs a task trained with cross_entropy",
        ),
        (["--config.loss.weights=(('gender', 2),)"], "'gender' is not trained"),
        (["--config.optim.accumulate=7"], "does not divide into optim.accumulate = 7 parts"),
        (["--config.optim.schedule=one_cycle", "--config.optim.warmup_steps=9"], "set optim.rise"),
        (["--config.transfer.unfreeze=(('trunk/.*', 5),)"], "nothing is frozen"),
        (["--config.transfer.cache_features=true"], "needs a trunk that stays frozen"),
        (["--config.transfer.sha256=00"], "transfer.weights, which is not set"),
        (["--config.eval.patience=3"], "set eval.checkpoint=best"),
        (
            ["--config.task=gender", "--config.eval.figure=mae"],
            "eval.figure = 'mae' needs an age task; use 'exact' for gender",
        ),
        (["--config.model.head_hidden=(0,)"], "model.head_hidden: 0: must be between 1 and 65536"),
        (
            [
                "--config.transfer.frozen=('trunk/.*',)",
                "--config.transfer.cache_features=1",
                "--config.data.mixup=0.2",
            ],
            "data.mixup = 0.2: cached features are of",
        ),
    ],
)
def test_keys_that_do_not_fit_each_other_are_told_in_one_line(words, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        configuration.load("configs/levi.py", words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", configuration.KEYS.values(), ids=lambda key: key.name)
def test_every_key_is_declared_whole(key):
    assert key.help
    assert key.kind in (bool, int, float, str, tuple)
    assert (key.low is None) == (key.high is None)
    assert key.cast(key.default) == key.default
    key.check(key.default)
    if key.kind is tuple:
        assert key.form
    if key.kind in (int, float):
        assert key.low is not None


def test_the_dictionary_of_a_config_is_sorted_and_plain():
    config = configuration.load("configs/levi.py")
    values = config.to_dict()
    assert list(values) == sorted(values)
    assert list(values["optim"]) == sorted(values["optim"])
    assert dict(configuration.flatten(config)) == dict(configuration.flatten(values))
    assert [name for name, _ in configuration.flatten(config)] == sorted(configuration.KEYS)
    assert configuration.resolve({"data": {"resize": 300}}).to_dict()["data"]["resize"] == 300


def test_a_config_with_other_values_is_another_config():
    config = configuration.load("configs/levi.py")
    other = configuration.replaced(config, **{"data.resize": 300, "seed": 7})
    assert (other.data.resize, other.data.crop, other.seed) == (300, 227, 7)
    assert config.data.resize == 256
    assert configuration.replaced(other, **{"data.resize": 256, "seed": 0}) == config


def test_help_lists_every_key_and_every_trunk_in_100_columns():
    lines = configuration.help_text().splitlines()
    assert max(map(len, lines)) <= 100
    text = " ".join(" ".join(lines).split())
    for name, key in configuration.KEYS.items():
        assert f" {name}" in text
        assert " ".join(key.help.split()) in text
    for name in TRUNKS:
        assert f" {name}: " in text
    assert "data.resize=256 [int, 8 to 4096] " in text
    assert "data.mirror=true [true or false] " in text
    assert "optim.name=sgd [sgd | adamw] " in text


def test_the_config_waits_for_neither_jax_nor_ml_collections():
    code = "import sys, ageflax.config as c; c.help_text(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "ml_collections", "numpy"} & set(done.stdout.split())


def config_file(path, base="", **values):
    """Writes a config file with values by name, such as data__resize; returns its path."""
    groups = sorted({name.partition("__")[0] for name in values if "__" in name})
    lines = [
        "from ml_collections import ConfigDict",
        "def get_config():",
        "    config = ConfigDict()",
    ]
    lines += [f"    config.{group} = ConfigDict()" for group in groups]
    lines += [f"    config.{name.replace('__', '.')} = {values[name]!r}" for name in values]
    lines += ["    return config", *([f"BASE = {base!r}"] if base else [])]
    path.write_text("\n".join(lines))
    return str(path)


def test_a_config_builds_on_another(tmp_path):
    (tmp_path / "below").mkdir()
    config_file(tmp_path / "below" / "first.py", steps=9, data__resize=300, data__crop=200,
                model__norm="none", optim__ema=0.5)  # fmt: skip
    config_file(tmp_path / "second.py", "below/first.py", epochs=2.0, data__crop=250)
    third = config_file(tmp_path / "third.py", "second.py", model__name="resnet18")
    config = configuration.load(third, ["--config.optim.ema=0.25"])
    assert (config.data.resize, config.data.crop, config.optim.ema) == (300, 250, 0.25)
    # The later of steps and epochs holds; options of another trunk go.
    assert (config.epochs, config.model.norm, config.model.stem) == (2.0, None, "imagenet")
    second = configuration.load(str(tmp_path / "second.py"))
    assert second.model.norm == "none"


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("second.py", "", "first.py: line 5: BASE = 'second.py': no such file"),
        ("first.py", "", "first.py: line 5: BASE = 'first.py': the file builds on itself"),
        (
            "second.py",
            "first.py",
            "second.py: line 5: BASE = 'first.py': the file builds on itself",
        ),
        (3, "", "first.py: line 5: BASE = 3: expected the path of a config file"),
    ],
)
def test_a_base_that_cannot_be_used_is_one_line(first, second, message, tmp_path):
    path = config_file(tmp_path / "first.py", first)
    if second:
        config_file(tmp_path / "second.py", second)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        configuration.load(path)
    assert "\n" not in str(error.value)


def test_a_mistake_in_a_base_names_the_base(tmp_path):
    config_file(tmp_path / "first.py", data__resise=3)
    path = config_file(tmp_path / "second.py", "first.py")
    with pytest.raises(
        InputError, match=r"first\.py: line 5: unknown key 'data\.resise'; did you mean"
    ):
        configuration.load(path)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_stands_alone_in_another_folder(path, tmp_path):
    (tmp_path / "moved.py").write_text(configuration.standalone(str(path)))
    assert configuration.load(str(tmp_path / "moved.py")) == configuration.load(str(path))


def test_the_packages_own_configs_are_known_by_name_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    levi = str(Path(__file__).parents[2] / "configs" / "levi.py")
    assert [configuration.locate(name) for name in ("levi", "configs/levi.py")] == [levi, levi]
    assert configuration.load("levi").steps == 50_000
    for name, close in (("levy", "levi"), ("configs/levy.py", "configs/levi.py")):
        with pytest.raises(InputError, match=f"no such file; did you mean '{close}'"):
            configuration.load(name)
    # A file here comes first, under any of its names; other folders have no names.
    Path("configs").mkdir()
    shutil.copy(levi, "configs/levi.py")
    assert (
        configuration.locate("levi") == configuration.locate("configs/levi.py") == "configs/levi.py"
    )
    assert [configuration.locate(name) for name in ("levi.py", "x/levi.py")] == [
        "levi.py",
        "x/levi.py",
    ]
