import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from ageflax import models
from ageflax.errors import InputError
from ageflax.models import Head
from ageflax.weights import hub, transfer
from ageflax.weights.transfer import Loaded, load, transferred
from tests.weights.foreign_states import resnet


def drawn():
    """Initial parameters and batch statistics of a small network, all -1."""
    shapes = {
        "trunk": {"conv1": {"kernel": (3, 3, 3, 4)}, "bn1": {"scale": (4,), "bias": (4,)}},
        "heads": {
            "age": {"kernel": (4, 8), "bias": (8,)},
            "gender": {"kernel": (4, 2), "bias": (2,)},
        },
        "balance": {"age": (), "gender": ()},
    }
    statistics = {"trunk": {"bn1": {"mean": (4,), "var": (4,)}}}
    full = lambda shape: np.full(shape, -1, np.float32)  # noqa: E731
    leaf = lambda node: isinstance(node, tuple)  # noqa: E731
    return jax.tree.map(full, shapes, is_leaf=leaf), jax.tree.map(full, statistics, is_leaf=leaf)


TRUNK = {
    "params/trunk/conv1/kernel": np.full((3, 3, 3, 4), 2, np.float32),
    "params/trunk/bn1/scale": np.full(4, 3, np.float32),
    "params/trunk/bn1/bias": np.full(4, 4, np.float32),
    "batch_stats/trunk/bn1/mean": np.full(4, 5, np.float32),
    "batch_stats/trunk/bn1/var": np.full(4, 6, np.float32),
}
HEADS = {
    "params/heads/age/kernel": np.full((4, 8), 7, np.float32),
    "params/heads/age/bias": np.full(8, 7, np.float32),
    "params/heads/gender/kernel": np.full((4, 2), 8, np.float32),
    "params/heads/gender/bias": np.full(2, 8, np.float32),
}


def of(tensors, left_out=()):
    return Loaded(dict(tensors), list(left_out), {"source": "w.safetensors"})


def take(tensors, reset=("heads/.*",)):
    return transferred(*drawn(), of(tensors), reset=reset)


def refused(tensors, reset=("heads/.*",)) -> str:
    with pytest.raises(InputError) as caught:
        take(tensors, reset)
    return str(caught.value)


def test_what_is_reset_stays_as_drawn_and_the_rest_is_taken_over():
    params, batch_stats, report = take(TRUNK)
    assert (params["trunk"]["conv1"]["kernel"] == 2).all()
    assert (params["trunk"]["bn1"]["scale"] == 3).all()
    assert (batch_stats["trunk"]["bn1"]["mean"] == 5).all()
    assert (batch_stats["trunk"]["bn1"]["var"] == 6).all()
    assert (params["heads"]["age"]["kernel"] == -1).all()
    assert params["balance"]["age"] == -1
    assert sorted(report.taken) == [
        "trunk/bn1/bias", "trunk/bn1/mean", "trunk/bn1/scale", "trunk/bn1/var", "trunk/conv1/kernel",
    ]  # fmt: skip
    assert sorted(report.reset) == [
        "balance/age", "balance/gender", "heads/age/bias", "heads/age/kernel", "heads/gender/bias",
        "heads/gender/kernel",
    ]  # fmt: skip


def test_trees_keep_their_structure_and_dtypes_and_share_nothing_with_the_file():
    params, batch_stats = drawn()
    tensors = TRUNK | {"params/trunk/bn1/bias": np.ones(4, np.float64)}
    new, statistics, _ = transferred(params, batch_stats, of(tensors), reset=("heads/.*",))
    assert jax.tree.structure(new) == jax.tree.structure(params)
    assert jax.tree.structure(statistics) == jax.tree.structure(batch_stats)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves((new, statistics)))
    assert not np.shares_memory(new["trunk"]["conv1"]["kernel"], TRUNK["params/trunk/conv1/kernel"])


def test_everything_is_taken_over_where_nothing_is_reset():
    params, _, report = take(TRUNK | HEADS, reset=())
    assert (params["heads"]["age"]["kernel"] == 7).all()
    assert sorted(report.reset) == ["balance/age", "balance/gender"]
    assert not report.left_out


def test_heads_that_are_reset_are_not_taken_from_the_file_either():
    params, _, _ = take(TRUNK | HEADS, reset=("heads/age/.*",))
    assert (params["heads"]["age"]["kernel"] == -1).all()
    assert (params["heads"]["gender"]["kernel"] == 8).all()


def test_the_files_own_balance_and_heads_that_this_network_lacks_are_left_out_and_reported():
    extra = {
        "params/balance/age": np.float32(1).reshape(()),
        "params/balance/years": np.float32(1).reshape(()),
        "params/heads/years/kernel": np.ones((4, 101), np.float32),
    }
    params, _, report = take(TRUNK | extra)
    assert params["balance"]["age"] == -1
    assert report.left_out == ["balance/years", "heads/years/kernel"]
    assert "no place for: heads/years/kernel" in refused(TRUNK | HEADS | extra, reset=())


def test_batch_statistics_follow_their_layer():
    reset = ("heads/.*", "trunk/bn1/.*")
    _, batch_stats, report = take(
        {"params/trunk/conv1/kernel": TRUNK["params/trunk/conv1/kernel"]}, reset
    )
    assert (batch_stats["trunk"]["bn1"]["mean"] == -1).all()
    assert "trunk/bn1/mean" in report.reset
    _, batch_stats, _ = take(TRUNK, ("heads/.*", "trunk/bn1/scale"))
    assert (batch_stats["trunk"]["bn1"]["mean"] == 5).all()


def test_a_network_without_batch_norm_has_no_statistics():
    params, batch_stats, _ = transferred(
        {"trunk": {"fc": {"kernel": np.zeros((2, 2), np.float32)}}},
        {},
        of({"params/trunk/fc/kernel": np.ones((2, 2), np.float32)}),
        reset=(),
    )
    assert (params["trunk"]["fc"]["kernel"] == 1).all()
    assert batch_stats == {}


@pytest.mark.parametrize("path", TRUNK)
def test_an_array_that_is_missing_is_named(path):
    message = refused({p: v for p, v in TRUNK.items() if p != path})
    assert f"missing: {path.partition('/')[2]};" in message
    assert "w.safetensors" in message


@pytest.mark.parametrize("path", TRUNK)
def test_an_array_of_another_shape_is_named_with_both(path):
    message = refused(TRUNK | {path: np.ones((2, 2), np.float32)})
    name, shape = path.partition("/")[2], TRUNK[path].shape
    assert f"{name}: {shape} here, (2, 2) in the file" in message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.full(4, np.nan, np.float32), "trunk/bn1/var: has values that are not finite"),
        (np.array([1, np.inf, 1, 1], np.float32), "trunk/bn1/var: has values that are not finite"),
        (np.array([1, -1, 1, 1], np.float32), "trunk/bn1/var: has negative variances"),
        (np.ones(4, np.int32), "trunk/bn1/var: dtype int32 in the file"),
    ],
)
def test_numbers_that_weights_cannot_be_are_refused(value, words):
    assert words in refused(TRUNK | {"batch_stats/trunk/bn1/var": value})


def test_heads_that_the_file_lacks_must_be_reset_by_name():
    message = refused(TRUNK, reset=())
    assert (
        "missing: heads/age/bias, heads/age/kernel, heads/gender/bias, heads/gender/kernel"
        in message
    )
    assert "transfer.reset" in message


def test_of_many_problems_six_of_a_kind_are_named():
    unknown = {f"params/trunk/other_{k}/kernel": np.ones(1, np.float32) for k in range(40)}
    message = refused(unknown)
    assert "missing: trunk/" in message
    assert "trunk/other_13/kernel and 34 more" in message
    assert len(message) < 800


@pytest.mark.parametrize("pattern", ["head/.*", "heads", "trunk/conv1", "", "params/heads/.*"])
def test_a_pattern_that_matches_nothing_is_an_error(pattern):
    assert f"{pattern!r} matches none of" in refused(TRUNK, ("heads/.*", pattern))


def test_a_pattern_that_is_no_regular_expression_is_an_error():
    assert "'heads/(' is not a regular expression" in refused(TRUNK, ("heads/(",))


def test_the_users_line_says_what_became_of_everything():
    _, _, report = transferred(*drawn(), of(TRUNK, ["fc.weight", "fc.bias"]), reset=("heads/.*",))
    (line,) = report.lines()
    assert line.startswith("5 arrays transferred, 6 initialized (")
    assert line.endswith("; not used: fc.weight, fc.bias")


def positions(count, width=2):
    return {"trunk": {"position_embedding": np.zeros((count, width), np.float32)}}


def test_positions_of_another_grid_are_resized_and_said_so():
    # Height in the first feature, width in the second: a plane, which bicubic resizing preserves.
    down, across = np.mgrid[:4, :4].astype(np.float32)
    grid = np.stack([down.ravel(), across.ravel()], axis=-1)
    values = np.concatenate([[[9, 9]], grid]).astype(np.float32)
    tensors = {"params/trunk/position_embedding": values}
    params, _, report = transferred(positions(65), {}, of(tensors), reset=())
    resized = params["trunk"]["position_embedding"]
    np.testing.assert_array_equal(resized[0], [9, 9])  # the class token has no place in the grid
    inner = resized[1:].reshape(8, 8, 2)[3:5, 3:5]
    np.testing.assert_allclose(inner[:, 0, 0], [1.25, 1.75], atol=1e-5)
    np.testing.assert_allclose(inner[0, :, 1], [1.25, 1.75], atol=1e-5)
    assert report.lines()[0].endswith("resized to this input: trunk/position_embedding")
    same, _, report = transferred(positions(17), {}, of(tensors), reset=())
    np.testing.assert_array_equal(same["trunk"]["position_embedding"], values)
    assert not report.resized


@pytest.mark.parametrize("shape", [(18, 2), (17, 3), (0, 2), (1, 2), (34,), (2, 17, 2)])
def test_positions_of_no_grid_or_another_width_are_not(shape):
    tensors = {"params/trunk/position_embedding": np.ones(shape, np.float32)}
    with pytest.raises(InputError, match="trunk/position_embedding: "):
        transferred(positions(65), {}, of(tensors), reset=())


def network(**options):
    """Parameters of a narrow ResNet-18, all -1."""
    model = {"name": "resnet18", "dtype": "float32", "width": 1 / 16} | options
    net = models.build(model, {"age": Head(8), "gender": Head(2)})
    x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x)
    tree = jax.tree.map(lambda s: np.full(s.shape, -1, s.dtype), shapes)
    return tree["params"], tree["batch_stats"]


def test_another_projects_file_becomes_the_trunk_of_a_network(tmp_path):
    save_file(resnet(), tmp_path / "w.safetensors")
    loaded = load(str(tmp_path / "w.safetensors"), model_name="resnet18", channels="rgb")
    params, batch_stats, report = transferred(*network(), loaded, reset=("heads/.*",))
    assert all((leaf > 0).all() for leaf in jax.tree.leaves((params["trunk"], batch_stats)))
    assert all((leaf == -1).all() for leaf in jax.tree.leaves(params["heads"]))
    assert report.left_out == ["fc.bias", "fc.weight", "20 num_batches_tracked"]
    assert loaded.provenance["source"] == "w.safetensors"
    assert loaded.provenance["revision"] is None
    assert len(loaded.provenance["sha256"]) == 64
    json.dumps(loaded.provenance)


def test_a_file_of_another_width_is_refused_with_both_shapes(tmp_path):
    save_file(resnet(base=2), tmp_path / "w.safetensors")
    loaded = load(str(tmp_path / "w.safetensors"), model_name="resnet18", channels="rgb")
    with pytest.raises(InputError) as caught:
        transferred(*network(), loaded, reset=("heads/.*",))
    assert "trunk/bn1/bias: (4,) here, (2,) in the file" in str(caught.value)
    assert " more" in str(caught.value)


def bundle(directory, **changes):
    """A bundle of the small network."""
    directory.mkdir(parents=True)
    save_file(
        TRUNK | HEADS | {"mean": np.ones((1, 1, 3), np.float32)}, directory / "model.safetensors"
    )
    described = {
        "architecture": {"name": "levi_hassner"},
        "input": {"channels": "bgr"},
        "data": {"licence": "for research"},
    }
    (directory / "config.json").write_text(json.dumps(described | changes))
    return directory


def load_ours(source):
    return load(str(source), model_name="levi_hassner", channels="bgr")


@pytest.mark.parametrize("given", ["fold_2", "fold_2/bundle", "fold_2/bundle/model.safetensors"])
def test_a_bundle_is_taken_as_it_is_with_its_licence(tmp_path, given):
    bundle(tmp_path / "run" / "fold_2" / "bundle")
    loaded = load_ours(tmp_path / "run" / given)
    assert loaded.tensors.keys() == (TRUNK | HEADS).keys()
    assert loaded.provenance["licence"] == "for research"
    if not given.endswith("safetensors"):
        assert loaded.provenance["source"] == "run/fold_2/bundle"
    params, _, _ = transferred(*drawn(), loaded, reset=())
    np.testing.assert_array_equal(
        params["trunk"]["conv1"]["kernel"], TRUNK["params/trunk/conv1/kernel"]
    )


def test_a_bundle_of_another_network_or_other_channels_is_refused(tmp_path):
    other = bundle(tmp_path / "a", architecture={"name": "resnet18"})
    with pytest.raises(
        InputError, match=r"has model\.name = 'resnet18', but the config has 'levi_hassner'"
    ):
        load_ours(other)
    other = bundle(tmp_path / "b", input={"channels": "rgb"})
    with pytest.raises(InputError, match=r"has data\.channels = 'rgb', but the config has 'bgr'"):
        load_ours(other)


@pytest.mark.parametrize("content", ["[]", "3", '{"data": 1, "input": [], "architecture": null}'])
def test_a_bundles_description_may_be_anything(tmp_path, content):
    (bundle(tmp_path / "b") / "config.json").write_text(content)
    assert load_ours(tmp_path / "b").provenance["licence"] is None


@pytest.mark.parametrize("content", [b"", b'{"data": ', b"\xff\xfe\xff", b"[" * 100_000])
def test_a_description_that_is_no_text_or_cut_short_is_refused(tmp_path, content):
    (bundle(tmp_path / "b") / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json: damaged JSON"):
        load_ours(tmp_path / "b")


def test_a_folder_without_weights_is_refused_and_a_runs_names_a_fold(tmp_path):
    with pytest.raises(InputError, match=r"no model.safetensors in it$"):
        load_ours(tmp_path)
    bundle(tmp_path / "fold_0" / "bundle")
    with pytest.raises(InputError, match=r"name one of its folds, such as .*fold_0$"):
        load_ours(tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        "word",
        "a/b/c",
        "/absent",
        "./a",
        "../a",
        "a/..",
        "-a/b",
        "a b/c",
        "hf://a",
        "",
        "https://a.b/c",
        "x" * 300,
    ],
)
def test_what_is_neither_a_path_nor_a_name_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "fetch", lambda *args, **kwargs: pytest.fail("asked the hub"))
    with pytest.raises(InputError, match=r"transfer\.weights = "):
        load_ours(source)


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "pt", "bin", "ckpt", "pkl"])
def test_an_absent_file_is_not_looked_for_on_the_hub(suffix, monkeypatch):
    monkeypatch.setattr(hub, "fetch", lambda *args, **kwargs: pytest.fail("asked the hub"))
    with pytest.raises(InputError, match=f"absent/w.{suffix}: no such file"):
        load_ours(f"absent/w.{suffix}")


def test_a_file_is_held_to_its_checksum_and_has_no_revision(tmp_path):
    source = bundle(tmp_path / "b")
    options = {"model_name": "levi_hassner", "channels": "bgr"}
    found = load(str(source), **options).provenance["sha256"]
    assert load(str(source), **options, sha256=found).provenance["sha256"] == found
    with pytest.raises(InputError, match=f"sha256 is {found}, not {'0' * 64}"):
        load(str(source), **options, sha256="0" * 64)
    with pytest.raises(InputError, match=r"transfer\.revision needs a name on the hub"):
        load(str(source), **options, revision="main")


def test_a_name_on_the_hub_is_fetched_with_what_is_known_of_it(tmp_path, monkeypatch):
    save_file(resnet(), tmp_path / "model.safetensors")
    asked = []

    def fetch(name, **options):
        asked.append((name, options))
        return hub.Fetched(tmp_path / "model.safetensors", "c" * 40, "d" * 64)

    monkeypatch.setattr(hub, "fetch", fetch)
    loaded = load(
        "timm/resnet18.x", model_name="resnet18", channels="rgb", revision="v1", sha256="e"
    )
    assert asked == [("timm/resnet18.x", {"revision": "v1", "sha256": "e"})]
    assert loaded.provenance == {
        "source": "timm/resnet18.x", "revision": "c" * 40, "sha256": "d" * 64, "licence": None,
    }  # fmt: skip


def test_a_bundle_on_the_hub_is_fetched_with_its_description(tmp_path, monkeypatch):
    directory = bundle(tmp_path / "b", input={"channels": "rgb"})

    def fetch(name, *, filename="model.safetensors", **options):
        return hub.Fetched(directory / filename, "c" * 40, "d" * 64)

    monkeypatch.setattr(hub, "fetch", fetch)
    with pytest.raises(InputError, match=r"has data\.channels = 'rgb'"):
        load_ours("me/bundle")


def test_the_config_asks_for_weights_or_for_none(small_config, tmp_path):
    assert transfer.of_config(small_config) is None
