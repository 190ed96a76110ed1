"""The networks by themselves: derivatives, the values at first, channels, causality and the cache."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct.networks import pair_mlp, transformer
from pnct.networks.activations import Algebraic, Softplus
from pnct.networks.layers import random_weight, residual, softplus
from pnct.networks.transformer import tokens
from pnct.systems.electron_gas import ElectronGas

GAS = ElectronGas((3, 2), 2, cutoff=4.0)


apply = jax.jit(lambda network, *args: network(*args))


def drawn_anew(network, spread=0.5):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(spread * rng.normal(size=x.shape)), network)


@pytest.mark.parametrize("x", [-800.0, -30.0, -1e-9, 0.0, 0.5, 30.0, 800.0])
def test_softplus_derivatives(x):
    # the logistic function s and its derivatives, in the form that does not overflow
    s = np.exp(-np.logaddexp(0, -x))
    c = np.exp(-np.logaddexp(0, x))
    derivatives = [np.logaddexp(x, 0), s, s * c, s * c * (c - s)]
    f = softplus
    for expected in derivatives:
        np.testing.assert_allclose(f(x), expected, rtol=1e-12, atol=1e-15)
        f = jax.grad(f)


@pytest.mark.parametrize(
    ("activation", "value"),
    [(Algebraic(), lambda x: (x + np.hypot(x, 2)) / 2), (Softplus(), lambda x: np.logaddexp(x, 0))],
    ids=["algebraic", "softplus"],
)
def test_slopes_of_activations_are_those_of_automatic_differentiation(activation, value):
    """s and its three derivatives; far below and far above they are finite."""
    x = np.array([-800.0, -30.0, -1.3, -1e-9, 0.0, 0.5, 30.0, 800.0])
    np.testing.assert_allclose(activation(x), value(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(activation.slope(x), activation.slopes(x)[0])
    f = activation
    for slope in activation.slopes(x):
        f = jax.grad(f)
        np.testing.assert_allclose(slope, jax.vmap(f)(x), rtol=1e-9, atol=1e-15)
    assert activation.slopes(0.0)[1] == pytest.approx(1 / 4)


def test_weights_and_residuals():
    w = random_weight(random.key(0), (40, 50), 25)
    assert np.std(w) == pytest.approx(1 / 5, rel=0.1)
    h = jnp.arange(3.0)
    np.testing.assert_array_equal(residual(h, h), 2 * h)
    np.testing.assert_array_equal(residual(h, h[:2]), h[:2])


def test_pair_mlp_is_zero_at_first_and_has_weights_of_its_own_for_each_channel():
    made, x = (
        pair_mlp(random.key(0), 2, 3, depth=2, width=4, directions=3),
        jnp.asarray([[0.1, 0.2, -0.3], [1.0, 0.0, 2.0]]),
    )
    assert not np.any(made(x, 0)) and not np.any(made(x, 1))
    eta = drawn_anew(made)
    for g in range(2):
        h = np.asarray(x)
        for layer in eta.hidden:
            h = np.logaddexp(0, h @ layer.weight[g] + layer.bias[g])
        np.testing.assert_allclose(eta(x, g), h @ eta.out[g], rtol=1e-12)
    assert np.all(eta(x, 0) != eta(x, 1))


def states(n):
    """Orbitals of n electrons, and the tokens of each before the next is taken."""
    K = jnp.asarray([2, 0, 1, 3, 1])[:n]
    return tokens(GAS, jnp.roll(K, 1), jnp.arange(n))


def test_the_transformer_corrects_nothing_at_first():
    made, x = transformer(GAS, layers=2, width=8, heads=2)(random.key(0)), states(GAS.N)
    corrections, _ = apply(made, x, jnp.arange(GAS.N), made.empty_cache(GAS.N))
    assert corrections.shape == (GAS.N, len(GAS.orbitals)) and not np.any(corrections)


def test_one_electron_at_a_time_is_all_at_once_and_none_sees_a_later_one():
    network = drawn_anew(transformer(GAS, layers=2, width=8, heads=2)(random.key(0)))
    x, n, caches = states(GAS.N), jnp.arange(GAS.N), network.empty_cache(GAS.N)
    together, _ = apply(network, x, n, caches)
    for t in range(GAS.N):
        one, caches = apply(network, x[t : t + 1], n[t : t + 1], caches)
        np.testing.assert_allclose(one[0], together[t], rtol=1e-11, atol=1e-12)
    changed, _ = apply(network, x.at[3].add(1.0), n, network.empty_cache(GAS.N))
    np.testing.assert_array_equal(changed[:3], together[:3])
    assert np.all(np.any(changed[3:] != together[3:], axis=1))


def test_the_first_token_names_no_orbital_and_all_name_both_species():
    first, *_, third, fourth, fifth = states(GAS.N)
    F = GAS.orbitals.features.shape[1]
    assert not np.any(first[:F]) and np.any(fifth[:F])
    np.testing.assert_array_equal(
        [x[F:] for x in (first, third, fourth, fifth)], np.array([[1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]])
    )


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"layers": 0}, "Expected layers to be a whole number >= 1; got 0"),
        ({"width": 6, "heads": 4}, "Expected width a multiple of heads; got .* heads = 4, width = 6"),
    ],
)
def test_sizes_are_checked(sizes, message):
    with pytest.raises(ValueError, match=message):
        transformer(GAS, **sizes)
