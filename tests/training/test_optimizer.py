"""Caffe's SGD by hand, multipliers and exemptions, optax's AdamW, late parameters, the moving average."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ageflax import config as configuration
from ageflax.errors import InputError
from ageflax.training import optimizer

PARAMS: Any = {
    "trunk": {"conv1": {"kernel": jnp.asarray([2.0, -4.0]), "bias": jnp.asarray([1.0])}},
    "heads": {"age": {"kernel": jnp.asarray([0.5]), "bias": jnp.asarray([-1.0])}},
}
PATHS = "heads/age/bias, heads/age/kernel, trunk/conv1/bias, trunk/conv1/kernel"


def _group(**values: Any) -> Any:
    """The default optim group, the paper's, with these values."""
    return dataclasses.replace(configuration.Optim(), **values)


def _gradient(step: int) -> Any:
    return jax.tree.map(lambda leaf: jnp.cos(leaf * (step + 1)), PARAMS)


def _take(tx: optax.GradientTransformation, steps: int) -> list[Any]:
    """Parameters after every step, under jit as in training."""
    params, state, found = PARAMS, tx.init(PARAMS), []
    update = jax.jit(tx.update)
    for step in range(steps):
        updates, state = update(_gradient(step), state, params)
        params = optax.apply_updates(params, updates)
        found.append(params)
    return found


def _run(group: Any, steps: int) -> list[Any]:
    return _take(optimizer.build(group, PARAMS, steps=steps), steps)


def _first_update(group: Any, gradient: Any) -> Any:
    tx = optimizer.build(group, PARAMS, steps=1)
    return tx.update(gradient, tx.init(PARAMS), PARAMS)[0]


def test_one_step_of_sgd_by_hand() -> None:
    group = _group(learning_rate=0.1, weight_decay=0.5)
    updates = _first_update(group, jax.tree.map(jnp.ones_like, PARAMS))
    # -rate * multiplier * (1 + decay * w)
    trunk, head = updates["trunk"]["conv1"], updates["heads"]["age"]
    np.testing.assert_allclose(trunk["kernel"], [-0.1 * 2, 0.1], 1e-6)
    np.testing.assert_allclose(trunk["bias"], [-0.2], 1e-6)
    np.testing.assert_allclose(head["kernel"], [-0.1 * 10 * 1.25], 1e-6)
    np.testing.assert_allclose(head["bias"], [-0.1 * 20], 1e-6)


def test_sgd_is_caffes_recursion_over_a_drop_of_the_rate() -> None:
    found = _run(_group(learning_rate=0.01, weight_decay=0.1, decay_every=3), 6)
    for path, multiplier, decay in (
        (("trunk", "conv1", "kernel"), 1, 0.1),
        (("trunk", "conv1", "bias"), 2, 0.0),
        (("heads", "age", "kernel"), 10, 0.1),
        (("heads", "age", "bias"), 20, 0.0),
    ):

        def leaf(tree: Any, path: tuple[str, ...] = path) -> np.ndarray:
            for key in path:
                tree = tree[key]
            return np.asarray(tree, np.float64)

        w = leaf(PARAMS)
        v = np.zeros_like(w)
        for step in range(6):
            rate = 0.01 if step < 3 else 0.001
            v = 0.9 * v + rate * multiplier * (leaf(_gradient(step)) + decay * w)
            w = w - v
            np.testing.assert_allclose(leaf(found[step]), w, 1e-5, 1e-7, err_msg=f"{path} {step}")


def test_caffes_momentum_is_not_optaxs_after_a_drop() -> None:
    # Guards the test above: optax.sgd also shrinks steps already under way.
    free = {"weight_decay": 0.0, "lr_multipliers": (), "decay_exempt": (), "decay_every": 2}
    ours = _run(_group(**free), 4)
    tx = optax.sgd(optimizer.schedule(_group(**free), 4), momentum=0.9)
    theirs = _take(tx, 4)
    differences = [
        np.abs(a["heads"]["age"]["kernel"] - b["heads"]["age"]["kernel"]).item()
        for a, b in zip(ours, theirs, strict=True)
    ]
    assert max(differences[:2]) < 1e-6
    assert min(differences[2:]) > 5e-4


def test_the_first_matching_multiplier_wins_and_the_rest_is_one() -> None:
    pairs = (("heads/.*/kernel", 10.0), ("heads/.*", 20.0), (".*/bias", 2.0))
    assert optimizer.lr_multipliers(PARAMS, pairs) == {
        "trunk": {"conv1": {"kernel": 1.0, "bias": 2.0}},
        "heads": {"age": {"kernel": 10.0, "bias": 20.0}},
    }
    assert optimizer.lr_multipliers(PARAMS, pairs[::-1])["heads"]["age"]["bias"] == 2.0


def test_a_pattern_must_match_the_whole_path() -> None:
    with pytest.raises(InputError, match=r"^optim\.lr_multipliers: 'conv1' matches no parameter"):
        optimizer.lr_multipliers(PARAMS, (("conv1", 2.0),))


def test_exempt_parameters_do_not_decay() -> None:
    assert optimizer.decay_mask(PARAMS, (".*/bias", "heads/.*")) == {
        "trunk": {"conv1": {"kernel": True, "bias": False}},
        "heads": {"age": {"kernel": False, "bias": False}},
    }


@pytest.mark.usefixtures("loose_promotion")
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_without_gradient_only_the_decay_moves_a_weight(name: str) -> None:
    group = _group(name=name, weight_decay=0.5, lr_multipliers=())
    updates = _first_update(group, jax.tree.map(jnp.zeros_like, PARAMS))
    assert not np.any(np.asarray(updates["trunk"]["conv1"]["bias"]))
    np.testing.assert_allclose(updates["trunk"]["conv1"]["kernel"], [-1e-3, 2e-3], 1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"lr_multipliers": (("head/.*", 10.0),)},
            f"optim.lr_multipliers: 'head/.*' matches no parameter; they are {PATHS}",
        ),
        (
            {"decay_exempt": (".*/bias", ".*/scale")},
            f"optim.decay_exempt: '.*/scale' matches no parameter; they are {PATHS}",
        ),
        (
            {"lr_multipliers": (("heads/(", 10.0),)},
            "optim.lr_multipliers: 'heads/(' is not a regular expression: missing ), unterminated "
            "subpattern at position 6",
        ),
        (
            {"decay_exempt": ("*bias",)},
            "optim.decay_exempt: '*bias' is not a regular expression: nothing to repeat at position 0",
        ),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_an_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        optimizer.build(_group(**values), PARAMS, steps=1)


@pytest.mark.usefixtures("loose_promotion")
def test_adamw_is_optaxs_in_the_plain_case() -> None:
    group = _group(
        name="adamw", schedule="cosine", weight_decay=0.1, lr_multipliers=(), decay_exempt=()
    )
    ours = _run(group, 5)
    tx = optax.adamw(optax.cosine_decay_schedule(1e-3, 5), b1=0.9, weight_decay=0.1)
    for found, expected in zip(ours, _take(tx, 5), strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6), found, expected)
    assert abs(ours[-1]["heads"]["age"]["kernel"].item() - 0.5) > 1e-3


@pytest.mark.usefixtures("loose_promotion")
def test_adamw_takes_the_multipliers_too() -> None:
    group = _group(name="adamw", weight_decay=0.0, schedule="constant")
    first = _run(group, 1)[0]
    changes = jax.tree.map(lambda new, old: np.abs(new - old).max(), first, PARAMS)
    # Adam's first step is the rate, whatever the gradient.
    np.testing.assert_allclose(changes["trunk"]["conv1"]["kernel"], 1e-3, 1e-3)
    np.testing.assert_allclose(changes["trunk"]["conv1"]["bias"], 2e-3, 1e-3)
    np.testing.assert_allclose(changes["heads"]["age"]["kernel"], 1e-2, 1e-3)
    np.testing.assert_allclose(changes["heads"]["age"]["bias"], 2e-2, 1e-3)


def test_shapes_are_enough_to_build_from() -> None:
    shapes = jax.eval_shape(lambda: PARAMS)
    state = optimizer.build(_group(), shapes, steps=1).init(PARAMS)
    assert jax.tree.leaves(state)


def test_a_long_gradient_is_cut_to_the_norm_before_all_else() -> None:
    free = {"learning_rate": 0.1, "weight_decay": 0.0, "lr_multipliers": ()}
    gradient = jax.tree.map(lambda leaf: jnp.full_like(leaf, 3.0), PARAMS)  # norm 3 sqrt(5)
    cut = _first_update(_group(clip_norm=1.5, **free), gradient)
    left = _first_update(_group(clip_norm=6.8, **free), gradient)
    expected = -0.1 * 1.5 / 5**0.5
    jax.tree.map(lambda leaf: np.testing.assert_allclose(leaf, expected, 1e-6), cut)
    jax.tree.map(lambda leaf: np.testing.assert_allclose(leaf, -0.3, 1e-6), left)


def test_the_decay_is_not_clipped() -> None:
    group = _group(learning_rate=0.1, weight_decay=0.5, clip_norm=1e-6, lr_multipliers=())
    updates = _first_update(group, jax.tree.map(jnp.ones_like, PARAMS))
    np.testing.assert_allclose(updates["trunk"]["conv1"]["kernel"], [-0.1, 0.2], 1e-4)


BALANCED: Any = PARAMS | {"balance": {"age": jnp.asarray(0.3), "gender": jnp.asarray(-0.3)}}


def test_the_balance_never_decays_and_keeps_its_rate() -> None:
    mask = optimizer.decay_mask(BALANCED, ("heads/.*",))
    assert mask["balance"] == {"age": False, "gender": False}
    assert mask["trunk"]["conv1"] == {"kernel": True, "bias": True}
    broad = (("(?!heads).*", 0.1),)
    factors = optimizer.lr_multipliers(BALANCED, broad)
    assert factors["balance"] == {"age": 1.0, "gender": 1.0}
    assert factors["trunk"]["conv1"] == {"kernel": 0.1, "bias": 0.1}
    named = optimizer.lr_multipliers(BALANCED, (("balance/age", 5.0), *broad))
    assert named["balance"] == {"age": 5.0, "gender": 1.0}


LATE = {"trunk/conv1/bias": 2, "trunk/conv1/kernel": 4}
UNFREEZE = (("trunk/.*", 4), (".*/bias", 2))


def _path(keys: Any) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def _take_late(tx: optax.GradientTransformation, steps: int, *, begun: int = 0) -> list[Any]:
    """Parameters after every step from `begun` on; frozen ones are zeros, as in the training step."""

    def learning(step: int, tree: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda keys, leaf: leaf if step >= LATE.get(_path(keys), 0) else jnp.zeros_like(leaf),
            tree,
        )

    params, state, found = PARAMS, tx.init(PARAMS), []
    update = jax.jit(tx.update)
    for step in range(begun, steps):
        gradient = learning(step, _gradient(step))
        updates, state = update(gradient, state, learning(step, params))
        params = optax.apply_updates(params, updates)
        found.append(params)
    return found


@pytest.mark.usefixtures("loose_promotion")
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_late_parameter_learns_as_if_the_run_had_begun_with_it(name: str) -> None:
    group = _group(name=name, weight_decay=0.1, schedule="constant")
    frozen = ("trunk/.*",)
    late = _take_late(optimizer.build(group, PARAMS, steps=8, unfreeze=UNFREEZE, frozen=frozen), 8)
    plain = optimizer.build(group, PARAMS, steps=8)
    for path, start in {"heads/age/bias": 0, "heads/age/kernel": 0, **LATE}.items():
        fresh = _take_late(plain, 8, begun=start)

        def leaf(tree: Any, path: str = path) -> Any:
            for key in path.split("/"):
                tree = tree[key]
            return tree

        for step in range(8):
            expected = leaf(PARAMS if step < start else fresh[step - start])
            np.testing.assert_array_equal(leaf(late[step]), expected, err_msg=f"{path} {step}")
    # Guards the above: by the run's own count, Adam's first step would differ.
    unaware = _take_late(plain, 8)[LATE["trunk/conv1/kernel"]]["trunk"]["conv1"]["kernel"]
    aware = late[LATE["trunk/conv1/kernel"]]["trunk"]["conv1"]["kernel"]
    assert np.array_equal(unaware, aware) == (name == "sgd")


@pytest.mark.usefixtures("loose_promotion")
def test_the_rate_of_a_late_parameter_is_the_runs() -> None:
    group = _group(name="adamw", weight_decay=0.0, lr_multipliers=(), schedule="cosine")
    tx = optimizer.build(group, PARAMS, steps=8, unfreeze=(("trunk/.*/kernel", 4),), frozen=(".*",))
    found = _take_late(tx, 5)
    step = np.abs(found[4]["trunk"]["conv1"]["kernel"] - found[3]["trunk"]["conv1"]["kernel"])
    np.testing.assert_allclose(step, 5e-4, 1e-3)  # Adam's first, half-way down the cosine


@pytest.mark.usefixtures("loose_promotion")
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_late_parameters_leave_the_shape_of_the_state_alone(name: str) -> None:
    group = _group(name=name)
    plain = optimizer.build(group, PARAMS, steps=8).init(PARAMS)
    late = optimizer.build(
        group, PARAMS, steps=8, unfreeze=(("trunk/.*", 4),), frozen=(".*",)
    ).init(PARAMS)
    assert jax.tree.structure(plain) == jax.tree.structure(late)


def test_what_was_never_frozen_cannot_be_unfrozen() -> None:
    message = (
        "transfer.unfreeze: 'heads/.*' matches no parameter; they are"
        " trunk/conv1/bias, trunk/conv1/kernel"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        optimizer.build(
            _group(), PARAMS, steps=8, unfreeze=(("heads/.*", 4),), frozen=("trunk/.*",)
        )
    with pytest.raises(InputError, match=r"^transfer\.unfreeze: 'trunc/\.\*' matches no parameter"):
        optimizer.build(_group(), PARAMS, steps=8, unfreeze=(("trunc/.*", 4),), frozen=(".*",))


def test_the_average_warms_up_and_then_keeps_its_decay() -> None:
    average = {"w": jnp.asarray([1.0, 0.0])}
    params = {"w": jnp.asarray([2.0, 0.0])}

    def kept(step: int, decay: float) -> float:
        found = optimizer.moved_average(average, params, jnp.asarray(step, jnp.int32), decay)["w"]
        assert found[1] == 0.0
        return 2.0 - float(found[0])  # d, as d * 1 + (1 - d) * 2 = 2 - d

    np.testing.assert_allclose(kept(0, 0.99), 1 / 10, 1e-6)
    np.testing.assert_allclose(kept(9, 0.99), 10 / 19, 1e-6)
    np.testing.assert_allclose(kept(889, 0.99), 890 / 899, 1e-6)
    np.testing.assert_allclose(kept(10_000, 0.99), 0.99, 1e-6)
    np.testing.assert_allclose(kept(3, 0.2), 0.2, 1e-6)


def test_the_average_of_what_stands_still_stands_still_and_is_float32() -> None:
    params = {"w": jnp.asarray([0.1, 1 / 3, 1e-20])}
    average = optimizer.moved_average(params, params, jnp.asarray(7, jnp.int32), 0.999)
    np.testing.assert_array_equal(average["w"], params["w"])
    halves = {"w": params["w"].astype(jnp.bfloat16)}
    assert (
        optimizer.moved_average(params, halves, jnp.asarray(7, jnp.int32), 0.9)["w"].dtype
        == jnp.float32
    )


@pytest.mark.usefixtures("loose_promotion")
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_what_stays_frozen_has_no_optimiser_state_and_the_rest_is_updated_as_without_it(name):
    group = _group(name=name, learning_rate=0.1, weight_decay=0.01)
    whole = optimizer.build(group, PARAMS, steps=8)
    part = optimizer.build(group, PARAMS, steps=8, frozen=("trunk/.*",))
    gradients: Any = jax.tree.map(jnp.ones_like, PARAMS)
    expected: Any
    found: Any
    expected, _ = whole.update(gradients, whole.init(PARAMS), PARAMS)
    gradients["trunk"] = jax.tree.map(jnp.zeros_like, gradients["trunk"])
    found, state = part.update(gradients, part.init(PARAMS), PARAMS)
    for one, other in zip(
        jax.tree.leaves(found["heads"]), jax.tree.leaves(expected["heads"]), strict=True
    ):
        np.testing.assert_allclose(one, other)
    assert not any(leaf.any() for leaf in jax.tree.leaves(found["trunk"]))
    held = sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim)
    own = sum(leaf.size for leaf in jax.tree.leaves(PARAMS["heads"]))
    assert held == own * (1 if name == "sgd" else 2)
