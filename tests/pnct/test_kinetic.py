"""The local kinetic energy against automatic and finite differences of ln Psi, and its symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from identity_flow import Identity
from small_flow import random_positions, small_flow

from pnct.flows import Flow
from pnct.kinetic import local_kinetic
from pnct.states.slater import as_states
from pnct.systems.electron_gas import ElectronGas

GASES = {
    "2D polarised": ElectronGas((4, 0), 2, twist=(0.25, 0.1), cutoff=6.0),
    "2D": ElectronGas((2, 3), 2, cutoff=4.0),
    "3D": ElectronGas((2, 1), 3, twist=0.25, cutoff=3.0),
}
gases = pytest.mark.parametrize("gas", GASES.values(), ids=GASES.keys())


def excited(gas, seed=3):
    rng = np.random.default_rng(seed)
    return np.concatenate([np.sort(rng.permutation(len(gas.orbitals))[:n]) for n in gas.num_electrons])


def log_psi(orbitals, K, flow, R):
    """The definition, with a Jacobian determinant by automatic differentiation."""
    J = jax.jacfwd(flow)(R).reshape(R.size, R.size)
    return as_states(orbitals).log_amplitude(K, flow(R)) + jnp.linalg.slogdet(J)[1] / 2


local = jax.jit(local_kinetic)


def wave(log):
    return complex(np.exp(log))


@pytest.mark.parametrize("gas", [GASES["2D"], GASES["3D"]], ids=["2D", "3D"])
def test_automatic_derivatives_of_the_definition(gas):
    K, R, flow = excited(gas), random_positions(gas.space), small_flow(gas.space)

    @jax.jit
    def derivatives(R):
        def part(take):
            return lambda R: take(log_psi(gas.orbitals, K, flow, R))

        real, phase = (jax.grad(part(take)) for take in (jnp.real, jnp.imag))
        hessian = jax.jacfwd(real)(R) + 1j * jax.jacfwd(phase)(R)
        return log_psi(gas.orbitals, K, flow, R), real(R) + 1j * phase(R), jnp.einsum("iaia->", hessian)

    found = local(as_states(gas.orbitals), K, flow, R)
    value, gradient, laplacian = derivatives(R)
    assert np.isclose(wave(found.log_psi), wave(value), rtol=1e-12)
    np.testing.assert_allclose(found.gradient, gradient, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.laplacian, laplacian, rtol=1e-9)


@gases
def test_finite_differences(gas):
    K, R, flow, h = excited(gas), random_positions(gas.space, 2), small_flow(gas.space), 5e-4
    steps = h * np.eye(R.size).reshape(-1, *R.shape)
    batch = np.concatenate([R[None] + c * steps for c in (-2, -1, 0, 1, 2)])
    log = jax.jit(jax.vmap(lambda R: log_psi(gas.orbitals, K, flow, R)))(batch)
    log = np.asarray(log).reshape(5, -1)
    log = log - log[2, 0]
    log = log.real + 1j * np.angle(np.exp(1j * log.imag))

    found = local(as_states(gas.orbitals), K, flow, R)
    slope = np.array([1, -8, 0, 8, -1]) @ log / (12 * h)
    curvature = np.array([-1, 16, -30, 16, -1]) @ log / (12 * h**2)
    np.testing.assert_allclose(found.gradient.ravel(), slope, atol=1e-6 * np.max(np.abs(slope)))
    np.testing.assert_allclose(found.laplacian, np.sum(curvature), rtol=1e-5)


def test_identity_flow_is_the_ideal_gas():
    gas = GASES["2D"]
    K, R = excited(gas), random_positions(gas.space)
    found = local(as_states(gas.orbitals), K, small_flow(gas.space, size=0.0), R)
    energy = -(found.laplacian + jnp.sum(found.gradient**2))
    assert np.isclose(energy, np.sum(gas.orbitals.wavevectors[K] ** 2), rtol=1e-9)
    assert (found.log_det_jacobian, found.det_sign) == (0, 1)


@pytest.mark.parametrize("pair", [(0, 1), (2, 4)])
def test_exchange_within_a_species_changes_the_sign(pair):
    gas = GASES["2D"]
    K, R, flow = excited(gas), random_positions(gas.space), small_flow(gas.space)
    swapped = R.copy()
    swapped[list(pair)] = R[list(pair)[::-1]]
    before, after = (local(as_states(gas.orbitals), K, flow, r) for r in (R, swapped))
    assert np.isclose(wave(after.log_psi), -wave(before.log_psi), rtol=1e-11)
    assert np.isclose(after.laplacian, before.laplacian, rtol=1e-9)


def test_exchange_between_species_is_no_symmetry():
    gas = GASES["2D"]
    K, R, flow = excited(gas), random_positions(gas.space), small_flow(gas.space)
    before, after = (
        abs(wave(local(as_states(gas.orbitals), K, flow, r).log_psi)) for r in (R, R[[2, 1, 0, 3, 4]])
    )
    assert not np.isclose(before, after, rtol=1e-3)


@gases
def test_lattice_translation_gives_the_twist_phase(gas):
    K, R, flow = excited(gas), random_positions(gas.space), small_flow(gas.space)
    moved = R.copy()
    moved[0, 1] += gas.L
    before, after = (local(as_states(gas.orbitals), K, flow, r) for r in (R, moved))
    assert np.isclose(
        wave(after.log_psi), np.exp(2j * np.pi * gas.twist[1]) * wave(before.log_psi), rtol=1e-10
    )
    assert np.isclose(after.laplacian, before.laplacian, rtol=1e-9)


@gases
def test_total_momentum_is_conserved_by_the_flow(gas):
    K, R, flow = excited(gas), random_positions(gas.space), small_flow(gas.space)
    P = np.sum(gas.orbitals.wavevectors[K], axis=0)
    np.testing.assert_allclose(
        np.sum(local(as_states(gas.orbitals), K, flow, R).gradient, axis=0), 1j * P, atol=1e-9
    )


class Mirror(Flow):
    """x, y, z -> -2 x, y, z."""

    def __call__(self, R):
        return R * jnp.array([-2.0, 1.0, 1.0])


def test_orientation_is_reported():
    """A flow that folds the cell over has det J < 0 somewhere: the sign must say so."""
    R = random_positions(GASES["3D"].space)
    mirror = jax.jit(lambda R: Mirror().derivatives(R))(R)
    assert mirror.det_sign == -1  # three electrons, one factor -2 each
    assert np.isclose(mirror.log_det, 3 * np.log(2), rtol=1e-12)
    np.testing.assert_allclose(mirror.grad_log_det, 0, atol=1e-14)


def test_batches():
    gas = GASES["2D"]
    K, flow = excited(gas), small_flow(gas.space)
    Rs = np.stack([random_positions(gas.space, seed) for seed in range(3)])
    together = jax.jit(jax.vmap(lambda R: local_kinetic(as_states(gas.orbitals), K, flow, R)))(Rs)
    one_by_one = [local(as_states(gas.orbitals), K, flow, R) for R in Rs]
    for x, *ys in zip(together, *one_by_one, strict=True):
        np.testing.assert_allclose(x, np.stack(ys), rtol=1e-9, atol=1e-12)


def test_float32():
    gas = GASES["3D"]
    K, R, flow = excited(gas), random_positions(gas.space), small_flow(gas.space)
    exact, single = (
        local(as_states(gas.orbitals), K, flow, R),
        local(as_states(gas.orbitals), K, flow, R.astype(np.float32)),
    )
    assert {x.dtype.name for x in single} == {"complex64", "float32"}
    assert np.isclose(wave(single.log_psi - exact.log_psi), 1, atol=1e-4)
    np.testing.assert_allclose(single.gradient, exact.gradient, atol=1e-3 * np.max(np.abs(exact.gradient)))
    np.testing.assert_allclose(single.laplacian, exact.laplacian, rtol=2e-3)


@pytest.mark.usefixtures("unchecked")
def test_wrong_shapes_are_named():
    gas = GASES["2D"]
    with pytest.raises(ValueError, match=r"Expected coordinates of shape \(5, 2\); got \(4, 2\)"):
        local_kinetic(as_states(gas.orbitals), gas.ground_state, Identity(), np.zeros((4, 2)))
