"""Where two electrons meet, r E_loc tends to zero with the cusps of the interaction, whatever the parameters
of the flow.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from random_flow import to_single

from pnct import ElectronGas, HarmonicTrap, hamiltonian
from pnct.distributions import Born
from pnct.flows import Composed, backflow, by_sector, continuous, separated_centre_of_mass
from pnct.flows.continuous.cusps import growth

SYSTEMS = {
    "opposite": HarmonicTrap((1, 1), coupling=2.0, beta=1.0, cutoff=4),
    "equal": HarmonicTrap((2, 0), coupling=2.0, beta=1.0, cutoff=4),
    "opposite, 3D": HarmonicTrap((1, 1), coupling=2.0, beta=1.0, cutoff=4, dim=3),
    "equal, 3D": HarmonicTrap((2, 0), coupling=2.0, beta=1.0, cutoff=4, dim=3),
    "three": HarmonicTrap((3, 0), coupling=2.0, beta=1.0, cutoff=4),
    "cell": ElectronGas((1, 1), 2, rs=2.0),
}


def residue(system, pair, cusps=True):
    """r (E_loc - E_loc at the distance 1) of a pair at the distance r = 1e-3 and 1e-5, with all parameters
    random.

    K is such that electrons of opposite spin can meet: in the trap the second names their relative motion.
    """
    make = continuous(system.space, depth=2, width=5, steps=8)
    if isinstance(system, HarmonicTrap):
        make = by_sector(system.orbitals, separated_centre_of_mass(system.space, make))
    rng = np.random.default_rng(5)
    flow = jax.tree.map(lambda x: jnp.asarray(0.25 * rng.normal(size=x.shape)), make(random.key(0)))
    K = jnp.asarray({(1, 1): [2, 0], (2, 0): [0, 2], (3, 0): [0, 1, 2]}[system.num_electrons])
    flow = flow(system.orbitals.quantum_numbers(K)) if isinstance(system, HarmonicTrap) else flow
    born = Born(system.orbitals, K, flow.with_cusps(2.0) if cusps else flow)
    centre, direction = rng.normal(size=(system.N, system.space.dim)), rng.normal(size=system.space.dim)
    direction /= np.linalg.norm(direction)
    energy = jax.jit(lambda R: hamiltonian(system).local_energy(born, R).total.real)
    i, j = pair

    def at(r):
        R = centre.copy()
        R[i], R[j] = 0.3 * centre[i] + r * direction / 2, 0.3 * centre[i] - r * direction / 2
        return float(energy(jnp.asarray(R)))

    scale = 1.0 if isinstance(system, HarmonicTrap) else float(system.rs) ** 2
    return np.array([scale * r * (at(r) - at(1.0)) for r in (1e-3, 1e-5)])


@pytest.mark.parametrize(
    "name",
    [
        "equal",
        "opposite, 3D",
        "cell",
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("opposite", "equal, 3D")),
    ],
)
def test_the_local_energy_of_two_electrons_is_finite(name):
    """r E_loc falls with r, where it tends to a constant without cusps."""
    far, near = residue(SYSTEMS[name], (0, 1))
    assert abs(near) < 2e-3 and abs(near) < 0.02 * abs(far)
    assert np.all(np.abs(residue(SYSTEMS[name], (0, 1), cusps=False)) > 0.3)


def test_a_third_electron_leaves_little():
    """It moves the two apart or together a little while they meet; lambda = 2 is what no cusp at all would
    leave.
    """
    assert np.all(np.abs(residue(SYSTEMS["three"], (0, 1))) < 0.2)


def test_growth():
    x = np.array([-2.0, -1e-3, -1e-5, 0.0, 1e-7, 9e-4, 3.0])
    np.testing.assert_allclose(jax.vmap(growth)(x), [np.expm1(v) / v if v else 1 for v in x], rtol=1e-9)
    assert np.isfinite(jax.grad(growth)(0.0))


def test_the_coupling_is_no_parameter():
    trap = SYSTEMS["equal"]
    flow = continuous(trap.space, width=3)(random.key(0))
    R = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2)))

    def moved(coupling):
        return jnp.sum(flow.with_cusps(coupling)(R) ** 2)

    assert jax.grad(moved)(2.0) == 0
    assert np.all(flow.with_cusps(0.0)(R) == R) and np.any(flow.with_cusps(2.0)(R) != R)


def test_float32_follows_the_parameters():
    """A coupling in float64, as a system has it, leaves a flow in float32, close to that in float64."""
    trap = SYSTEMS["equal"]
    flow = jax.tree.map(lambda x: x + 0.1, continuous(trap.space, width=3)(random.key(0)))
    R = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2)))
    derivatives = jax.jit(lambda flow, R: flow.with_cusps(trap.coupling).derivatives(R))
    exact, single = (derivatives(*given) for given in ((flow, R), to_single((flow, R))))
    for one, other in zip(jax.tree.leaves(exact), jax.tree.leaves(single), strict=True):
        assert other.dtype == jnp.float32
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    inversion = to_single(flow).with_cusps(trap.coupling).invert(single.zeta)
    assert inversion.R.dtype == jnp.float32
    np.testing.assert_allclose(inversion.R, R, atol=1e-5)


def test_parts_of_a_flow_get_their_cusps():
    """Whatever holds continuous flows, at any depth, and nothing else changes."""
    space = SYSTEMS["opposite"].space
    inner, other = continuous(space, width=3)(random.key(0)), backflow(space, width=3)(random.key(1))
    flow = Composed((other, separated_centre_of_mass(space, lambda key: inner)(random.key(0))))
    made = flow.with_cusps(2.0)
    assert made.flows[1].flow.coupling == 2.0 and inner.coupling is None
    assert jax.tree.leaves(made)[:-1] == jax.tree.leaves(flow)
    assert jax.tree.structure(other.with_cusps(2.0)) == jax.tree.structure(other)
