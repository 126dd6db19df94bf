"""Blends and patches: the composition of a view, and its share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax.augment import mixing

SIZE = 16
# Jitted as in the step; also quicker than compiling each operation.
mix = jax.jit(mixing.mix, static_argnames=("mixup_alpha", "cutmix_alpha"))


def constant_views(count):
    """Views of a constant value k, so that a mixed pixel shows its composition."""
    places = jnp.arange(count, dtype=jnp.float32)[:, None, None, None]
    return jnp.broadcast_to(places, (count, SIZE, SIZE, 3))


def mixed(seed, *, mixup=0.0, cutmix=0.0, count=8):
    found = mix(jax.random.key(seed), constant_views(count), mixup_alpha=mixup, cutmix_alpha=cutmix)
    return [np.asarray(part) for part in found]


@pytest.mark.parametrize("count", [1, 2, 8])
def test_every_face_is_some_face_s_partner_and_no_face_its_own(count):
    _, partner, share = mixed(0, mixup=1.0, count=count)
    assert sorted(partner) == list(range(count))
    assert count == 1 or (partner != np.arange(count)).all()
    assert ((share >= 0) & (share <= 1)).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 100.0])
def test_mixup_blends_by_the_share(alpha):
    views, partner, share = mixed(1, mixup=alpha)
    expected = share * np.arange(8) + (1 - share) * partner
    np.testing.assert_allclose(
        views, np.broadcast_to(expected[:, None, None, None], views.shape), atol=1e-5
    )
    assert len(set(share)) == 8  # each face its own


@pytest.mark.parametrize("alpha", [0.2, 1.0, 100.0])
def test_cutmix_pastes_one_rectangle_and_its_share_is_exact(alpha):
    for seed in range(5):
        views, partner, share = mixed(seed, cutmix=alpha)
        for row in range(8):
            pasted = views[row, ..., 0] == partner[row]
            np.testing.assert_array_equal(views[row, ..., 0][~pasted], row)
            np.testing.assert_array_equal(views[row], views[row, ..., :1].repeat(3, -1))
            assert share[row] == np.float32(1 - pasted.sum() / SIZE**2)
            assert pasted.sum() == pasted.any(0).sum() * pasted.any(1).sum()


def test_shares_follow_beta():
    _, _, share = mixed(0, mixup=0.5, count=4000)
    np.testing.assert_allclose(share.mean(), 0.5, atol=0.02)
    np.testing.assert_allclose(share.var(), 1 / (4 * (2 * 0.5 + 1)), atol=0.01)
    _, _, near_half = mixed(0, mixup=50.0, count=4000)
    np.testing.assert_allclose(near_half.var(), 1 / (4 * 101), rtol=0.15)


def test_with_both_each_batch_is_dealt_one_of_the_two():
    blended = []
    for seed in range(40):
        views, _, share = mixed(seed, mixup=100.0, cutmix=100.0)
        evenly = (views == views[:, :1, :1]).all((1, 2, 3))
        blended.append(evenly.all())
        # With alpha 100, CutMix leaves no view without a patch.
        assert evenly.all() or not evenly.any()
        only = mixed(seed, mixup=100.0) if evenly.all() else mixed(seed, cutmix=100.0)
        np.testing.assert_array_equal(share, only[2])
    assert 10 < sum(blended) < 30


def test_a_mix_is_a_function_of_its_key():
    one, again, other = (mixed(seed, mixup=1.0, cutmix=1.0) for seed in (1, 1, 2))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one[2], other[2])


def test_without_alphas_nothing_is_mixed():
    views, _, share = mixed(0)
    np.testing.assert_array_equal(views, constant_views(8))
    np.testing.assert_array_equal(share, np.ones(8))
