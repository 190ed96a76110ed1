"""The cusps of electrons at protons: Kato's slope, a finite local energy, nothing folded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pnct import Hydrogen, hydrogen_hamiltonian
from pnct.distributions import Born
from pnct.flows import Composed, ferminet, proton_cusps
from pnct.hamiltonian import Values
from pnct.space import Cell

PLASMA = Hydrogen((2, 1), 2, rs=2.0, temperature=0.3, cutoff=2.0)
X = jnp.array([[0.9, 0.5, 1.3], [1.7, 1.0, 0.4]])
DIRECTION = jnp.array([0.36, -0.48, 0.8])


def born(plasma=PLASMA, X=X, size=0.1):
    """With a FermiNet behind the cusps that sees the protons and is not the identity."""
    flow = ferminet(plasma.space, depth=2, width=4, nuclear=3)(jax.random.key(1))
    rng = np.random.default_rng(0)
    flow = jax.tree.map(lambda x: x + size * rng.normal(size=x.shape), flow)
    cusps = proton_cusps(plasma.space, 1.4)(jax.random.key(0))
    follow = Composed((cusps.around(X, plasma.rs), flow.around(X)))
    K = jnp.array([0, 3, 1])[: plasma.N]
    return Born(plasma.given(X).orbitals, K, follow)


@jax.jit
def at_distance(r):
    """ln Psi and E_loc with the first electron r bohr beside the second proton, on both sides."""
    R = jnp.array([[0.0, 0.0, 0.0], [0.3, 0.2, 1.9], [1.9, 1.1, 1.7]])

    def at(sign):
        here = R.at[0].set(X[1] + sign * r / PLASMA.rs * DIRECTION)
        local = hydrogen_hamiltonian(PLASMA)(born(), Values({"X": X, "R": here}, "R"))
        return born().log_psi(here).real, local.total.real

    return jax.vmap(at)(jnp.array([1.0, -1.0]))


def test_slope_of_the_wave_function_at_a_proton():
    """d ln Psi/dr = -1 per bohr, averaged over two opposite directions, which takes smooth slopes out."""
    (near, _), (far, _) = at_distance(1e-4), at_distance(2e-4)
    slope = float(jnp.mean(far - near)) / 1e-4
    assert slope == pytest.approx(-1, abs=1e-3)


def test_local_energy_is_finite_at_a_proton():
    """-1/r = -10^4 hartree is cancelled: E_loc hardly changes up to 10^-3 bohr."""
    energies = np.array([at_distance(r)[1] for r in (1e-4, 3e-4, 1e-3)])
    assert np.all(np.abs(energies) < 100) and np.max(np.ptp(energies, axis=0)) < 0.5


def test_density_at_the_proton_is_enhanced_and_far_away_nothing_happens():
    space = Cell((1, 0), 3, 12.0)
    flow = proton_cusps(space, 1.4)(jax.random.key(0)).around(np.array([[6.0, 6, 6]]), np.array(2.0))
    forward = jax.jit(lambda R: flow.forward_and_log_det(R))
    assert float(forward(jnp.full((1, 3), 6.0))[1]) == pytest.approx(3 * np.log(1.4))
    far = jnp.array([[0.5, 0.2, 0.1]])
    np.testing.assert_allclose(forward(far)[0], far, atol=1e-5)


def test_two_protons_close_to_each_other_fold_nothing():
    space = Cell((1, 0), 3, 2.0)
    made = proton_cusps(space, 1.6)(jax.random.key(0))
    R = jnp.asarray(np.random.default_rng(0).uniform(0, 2, (512, 1, 3)))

    @jax.jit
    def dets_and_inverses(X):
        flow = made.around(X, np.array(2.0))
        dets = jax.vmap(lambda r: jnp.linalg.det(flow.jacobian(r)[1]))(R)
        return dets, jax.vmap(flow.invert)(jax.vmap(flow)(R))

    for distance in (0.02, 0.2, 0.6):
        dets, found = dets_and_inverses(np.array([[1.0, 1, 1], [1 + distance, 1, 1]]))
        assert np.all(np.asarray(dets) > 0), distance
        assert np.all(found.converged)
        np.testing.assert_allclose(found.R, R, atol=1e-9)


@pytest.mark.parametrize("enhancement", [1.0, 2.0, 0.5, 2.7, float("nan"), "large"])
def test_an_enhancement_that_may_fold_is_refused(enhancement, unchecked):
    with pytest.raises(ValueError, match=r"Expected enhancement (> 1 and < 2|to be one number > 1 and < 2)"):
        proton_cusps(PLASMA.space, enhancement)


def test_places_are_asked_for():
    R = jnp.zeros((3, 3))
    with pytest.raises(ValueError, match=r"Expected places of protons; got none. Write flow.around\(X"):
        proton_cusps(PLASMA.space)(jax.random.key(0))(R)
    with pytest.raises(ValueError, match=r"Expected places of nuclei; got none. Write flow.around\(X"):
        ferminet(PLASMA.space, nuclear=2)(jax.random.key(0))(R)
    with pytest.raises(ValueError, match="Expected a FermiNet with features of nuclei; got none"):
        ferminet(PLASMA.space)(jax.random.key(0)).around(X)
