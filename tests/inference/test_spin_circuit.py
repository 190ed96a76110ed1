"""Spins through the whole routine: F, its gradient and expectation values against enumeration, reports in
the words of spins, and (slow) training beside spin_lattices.csv.
"""

import csv
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from numpyro.handlers import condition

import pnct
import pnct.distributions as dist
from pnct import spin_hamiltonian
from pnct.circuits import brickwork
from pnct.distributions import bit_transformer
from pnct.hamiltonian import Values
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, to_arviz
from pnct.inference.observables.entropy import entropy
from pnct.inference.observables.pauli_expectations import pauli_expectations
from pnct.inference.optimisation.gradients import (
    gradient,
    measured_scores,
    residual_clip,
)
from pnct.inference.sampling.batch import draw_batch, ladder
from pnct.inference.sampling.scores import complex_score
from pnct.inference.sampling.sites import read_sites
from pnct.inference.training.step import scores_of
from pnct.models import spin_circuit
from pnct.systems import chain, heisenberg, pauli_sum, square, transverse_field_ising

KEY = jax.random.key
SPINS = transverse_field_ising(chain(3), Gamma=1.1, beta=1.25, J=0.6, longitudinal=0.4)
ALL = jnp.asarray(list(itertools.product((0, 1), repeat=3)))


def small(spins):
    """As models/spin_circuit.py, of a small network and one round of gates."""
    network = pnct.module("network", bit_transformer(spins, layers=1, width=4, heads=2))
    circuit = pnct.module("circuit", brickwork(spins.lattice, depth=1))
    K = pnct.sample("K", dist.SpinStates(spins, network))
    return pnct.sample("x", dist.CircuitBorn(spins, K, circuit))


@pytest.fixture(scope="module")
def routine():
    vfe = VariationalFreeEnergy(small, spin_hamiltonian, optax.sgd(1.0), num_walkers=1024, chunk_size=256)
    start = vfe.init(KEY(0), SPINS)
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda x: x + 0.2 * random.normal(size=x.shape), start.params)
    return vfe, start._replace(params=params)


def state_vectors(params):
    """<x|U|K>, K as the first axis."""
    return jax.vmap(lambda K: dist.CircuitBorn(SPINS, K, params["circuit"]).state_vector())(ALL)


def state_energies(params):
    psi = state_vectors(params)
    return jnp.real(jnp.einsum("kx,xy,ky->k", psi.conj(), SPINS.measured_terms.matrix(), psi))


def log_p(params, power=1.0):
    return dist.SpinStates(SPINS, params["network"]).tempered(power).log_prob(ALL)


def exact_free_energy(params):
    """F of the variational state by the sum over all K."""
    return jnp.sum(jnp.exp(log_p(params)) * (SPINS.temperature * log_p(params) + state_energies(params)))


def broadened_energy(params):
    """E of the states as a training step draws them, which is what it moves the circuit by."""
    q = jnp.mean(jax.vmap(lambda power: jnp.exp(log_p(params, power)))(jnp.asarray(ladder(1024))), axis=0)
    return jnp.sum(jax.lax.stop_gradient(q) * state_energies(params))


def test_untrained_it_is_the_free_spins(routine):
    """F = -N T ln 2 cosh(Gamma/T) within 3 standard errors, with the free spins' own ln p(K) to 1e-12."""
    vfe, _ = routine
    spins = transverse_field_ising(chain(3), Gamma=1.1, beta=1.25)
    params = vfe.init(KEY(0), spins).params
    draws = vfe.evaluate(KEY(1), params, 4096, spins)
    F = draws.estimates()["free_energy"]
    assert abs(F.value + 3 * math.log(2 * math.cosh(1.1 * 1.25)) / 1.25) < 3 * F.error
    energy = 1.1 * np.sum(2 * draws.samples["K"] - 1, axis=1)
    exact = -1.25 * energy - 3 * math.log(2 * math.cosh(1.1 * 1.25))
    np.testing.assert_allclose(draws.log_prob, exact, atol=1e-12)


def test_local_energy_is_that_of_the_full_matrix(routine):
    """To 1e-12 of its size, for all K and x."""
    _, start = routine
    H = spin_hamiltonian(SPINS)

    @jax.jit
    def local(K, x):
        found = H(dist.CircuitBorn(SPINS, K, start.params["circuit"]), Values({"x": x}, "x"))
        return found.total

    found = jax.vmap(lambda K: jax.vmap(lambda x: local(K, x))(ALL))(ALL)
    psi = np.asarray(state_vectors(start.params))
    expected = psi @ SPINS.measured_terms.matrix().T / psi
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def sampled_gradient(vfe, params, key):
    """That of a training step of 1024 walkers, in units of J: of p(K), of the circuit with all x summed over,
    and of the circuit from one x of each walker.
    """
    sites = read_sites(small, params, (SPINS,))
    H = spin_hamiltonian(SPINS)
    walkers = draw_batch(small, sites, H, params, (SPINS,), key, vfe.batching(sites), scores=True)
    scores = scores_of(walkers, sites, H, jnp.ones(1024, bool))
    found = {
        "network": gradient(scores["classical"])["network"],
        "summed": gradient(scores["measured"])["circuit"],
        "sampled": gradient(scores["measured"]._replace(force=None))["circuit"],
    }
    return jax.tree.map(lambda x: H.energy_scale * x, found)


# of which module
GRADIENTS = {"network": "network", "summed": "circuit", "sampled": "circuit"}


def test_free_energy_and_gradient_are_those_of_the_sum_over_all_states(routine):
    """Along four random directions for each module; the error of 32 batches, 5 sigma. That of the circuit is
    known to 1 % of its size from all x, to 10 % from sampled ones.
    """
    vfe, start = routine
    random = np.random.default_rng(1)
    directions = [jax.tree.map(lambda x: random.normal(size=x.shape), start.params) for _ in range(4)]

    def along(gradient):
        return jnp.stack(
            [
                jnp.vdot(ravel_pytree(gradient[name])[0], ravel_pytree(d[module])[0])
                for name, module in GRADIENTS.items()
                for d in directions
            ]
        )

    @jax.jit
    def batches(params):
        return jax.lax.map(
            lambda key: along(sampled_gradient(vfe, params, key)), jax.random.split(KEY(1), 32)
        )

    @jax.jit
    def exact(params):
        slopes = jax.grad(broadened_energy)(params)["circuit"]
        network = jax.grad(exact_free_energy)(params)["network"]
        return along({"network": network, "summed": slopes, "sampled": slopes})

    found = np.asarray(batches(start.params))
    expected = np.asarray(exact(start.params))
    error = np.std(found, axis=0, ddof=1) / math.sqrt(32)
    known = error.reshape(3, 4).max(axis=1) / np.abs(expected).reshape(3, 4).max(axis=1)
    assert np.all(known < [1 / 8, 0.01, 0.1])
    assert np.all(np.abs(np.mean(found, axis=0) - expected) < 5 * error)

    F = vfe.evaluate(KEY(0), start.params, 20_480, SPINS).estimates()["free_energy"]
    assert abs(F.value - exact_free_energy(start.params)) < 5 * F.error < 0.1


def test_no_bit_string_is_an_outlier(routine):
    """The scores of all K and x, each of its weight, have the gradient of the circuit to 1e-9. Those of
    residuals as they are clipped of electrons have not.
    """
    _, start = routine
    circuit = start.params["circuit"]

    def walker(K, x):
        energy = spin_hamiltonian(SPINS)(dist.CircuitBorn(SPINS, K, circuit), Values({"x": x}, "x")).total
        rows = complex_score(lambda c: dist.CircuitBorn(SPINS, K, c).log_modulus_and_phase(x), circuit)
        return energy, rows

    @jax.jit
    def all_of_them():
        p = jnp.exp(log_p(start.params))
        exact = jax.grad(lambda c: p @ state_energies(start.params | {"circuit": c}))(circuit)
        found = jax.vmap(lambda K: jax.vmap(lambda x: walker(K, x))(ALL))(ALL)
        energy, rows = jax.tree.map(lambda leaf: leaf.reshape(64, *leaf.shape[2:]), found)
        weight = (p[:, None] * jnp.abs(state_vectors(start.params)) ** 2).ravel()

        def slope(clip):
            given = ({"circuit": rows}, jnp.repeat(jnp.log(p), 8), energy, weight, 3, clip)
            return ravel_pytree(gradient(measured_scores(*given)))[0]

        clips = (residual_clip(ALL.dtype), residual_clip(jnp.float64))
        return ravel_pytree(exact)[0], *(slope(clip) for clip in clips)

    exact, found, clipped = all_of_them()
    np.testing.assert_allclose(found, exact, atol=1e-9)
    assert np.linalg.norm(clipped - exact) > 0.05 * np.linalg.norm(exact)


def test_expectation_values_are_those_of_the_density_matrix(routine):
    """Magnetisation along X, Y and Z, a correlation, a string of three letters, the identity: 5 sigma."""
    vfe, start = routine
    names = [*({f"{axis}{i}": 1 / 3 for i in range(3)} for axis in "XYZ"), {"Z0 Z2": 1.0}, {"X0 Y1 Z2": 2.0}]
    operators = [pauli_sum(3, terms) for terms in names]
    draws = vfe.evaluate(KEY(3), start.params, 8192, SPINS)
    found = pauli_expectations(small, start.params, draws, operators, SPINS)
    psi = np.asarray(state_vectors(start.params))
    rho = np.einsum("k,kx,ky->xy", np.exp(log_p(start.params)), psi, psi.conj())
    exact = [np.trace(rho @ operator.along(SPINS.measured_axis).matrix()).real for operator in operators]
    assert np.abs(exact).min() > 1e-3
    for estimate, value in zip(found, exact, strict=True):
        assert abs(estimate.value - value) < 5 * estimate.error < 0.3
    with pytest.raises(ValueError, match=r"^Expected operators on the 3 sites"):
        pauli_expectations(small, start.params, draws, [pauli_sum(2, {"X0": 1.0})], SPINS)


def test_reports_have_the_words_of_spins(routine, tmp_path):
    vfe, start = routine
    draws = vfe.evaluate(KEY(2), start.params, 4096, SPINS)
    idata = to_arviz(draws, system=SPINS)
    posterior = idata["posterior"]
    assert posterior["x"].dims == posterior["K"].dims == ("chain", "draw", "site")
    np.testing.assert_array_equal(posterior["K_excited"].values, posterior["K"].values.sum(axis=-1))
    assert "x_excited" not in posterior
    stats = idata["sample_stats"]
    np.testing.assert_array_equal(
        stats["magnetisation"].values, np.sum(1 - 2 * posterior["x"].values, axis=-1)
    )
    constants = idata["constant_data"]
    assert constants["bonds"].values.tolist() == [[0, 1], [1, 2]]
    assert dict(zip(constants["pauli_string"].values, constants["coefficient"].values, strict=True)) == {
        "ZZI": -0.6, "IZZ": -0.6, "XII": -1.1, "IXI": -1.1, "IIX": -1.1, "ZII": -0.4, "IZI": -0.4, "IIZ": -0.4
    }  # fmt: skip
    assert stats.attrs["particle"] == "site" and stats.attrs["num_sites"] == 3
    idata.to_netcdf(str(tmp_path / "draws.nc"), engine="h5netcdf")

    report = diagnose(idata)
    text = str(report)
    assert "J per site" in text and "k_B per site" in text
    assert "\noff-diagonal " in text and "\ndiagonal " in text
    assert not any(word in text for word in ("electron", "kinetic", "det J", "flow", "pairs"))
    assert report.converged is None and "unknown" in report.verdict
    exact = float(exact_free_energy(start.params)) / 3
    assert abs(report.free_energy.value - exact) < 5 * report.free_energy.error
    S = entropy(small, KEY(4), start.params, 20_000, SPINS)
    p = np.exp(log_p(start.params))
    assert abs(S.value + np.sum(p * np.log(p))) < 5 * S.error


def test_a_conditioned_state_has_no_entropy_and_its_own_energy(routine):
    """VQE: K given, F = E = <K|U^+ H U|K>, 5 sigma."""
    _, start = routine
    ground = condition(small, {"K": SPINS.ground_state})
    vfe = VariationalFreeEnergy(ground, spin_hamiltonian, natural_gradient(), num_walkers=1024)
    vfe.init(KEY(0), SPINS)
    found = vfe.evaluate(KEY(1), start.params, 4096, SPINS).estimates()
    assert found["entropy"].value == 0 and found["free_energy"] == found["energy"]
    E = found["energy"]
    assert abs(E.value - state_energies(start.params)[0]) < 5 * E.error


@pytest.mark.parametrize("K", [np.array([0, 2, 0]), np.array([0, 1])])
def test_a_conditioned_k_that_is_no_bit_string_is_refused(K, unchecked):
    vfe = VariationalFreeEnergy(
        condition(small, {"K": K}), spin_hamiltonian, natural_gradient(), num_walkers=8
    )
    with pytest.raises(ValueError, match="Expected K to be 3 bits"):
        vfe.init(KEY(0), SPINS)


def test_two_measured_sites_are_refused():
    def program(spins):
        circuit = pnct.module("circuit", brickwork(spins.lattice, depth=0))
        K = pnct.sample("K", dist.SpinStates(spins))
        pnct.sample("x", dist.CircuitBorn(spins, K, circuit))
        return pnct.sample("y", dist.CircuitBorn(spins, K, circuit))

    vfe = VariationalFreeEnergy(program, spin_hamiltonian, natural_gradient(), num_walkers=8)
    with pytest.raises(ValueError, match=r"Expected exactly one measured site .*; got 2 \(.*x: CircuitBorn"):
        vfe.init(KEY(0), SPINS)


@pytest.fixture(scope="module")
def exact(reference):
    with (reference / "spin_lattices.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        (r["lattice"], r["model"], r["parameters"], r["beta"], r["quantity"]): float(r["value"]) for r in rows
    }


# lattice, Gamma, beta, depth of the circuit, steps, walkers, by how much F may be above the exact value, and
# the share by which S may be off
TRAININGS = {
    "2x2 in a strong field": ("2x2 open", 2.0, 2.0, 2, 150, 512, 5e-4, 0.02),
    "2x2 of depth 2": ("2x2 open", 1.0, 1.0, 2, 200, 512, 0.01, 0.02),
    "2x2 of depth 3": ("2x2 open", 1.0, 1.0, 3, 300, 512, 0.002, 0.02),
    "3x3 in a strong field": ("3x3 open", 3.044, 1.0, 5, 200, 128, 0.02, 0.08),
    "3x3": ("3x3 open", 1.0, 1.0, 5, 200, 128, 0.07, 0.13),
}
LATTICES = {"2x2 open": square(2, 2), "3x3 open": square(3, 3)}


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("case", TRAININGS.values(), ids=TRAININGS.keys())
def test_training_comes_near_the_exact_free_energy_and_never_below(case, exact):
    """Not below by more than 3 standard errors; S as near as the case says and 3 standard errors."""
    lattice, Gamma, beta, depth, steps, walkers, above, off = case
    spins = transverse_field_ising(LATTICES[lattice], Gamma, beta)
    vfe = VariationalFreeEnergy(spin_circuit, spin_hamiltonian, natural_gradient(), walkers, chunk_size=16)
    params = vfe.run(KEY(0), steps, spins, depth, progress_bar=False).params
    F = vfe.evaluate(KEY(1), params, 65_536, spins, depth).estimates()["free_energy"]
    S = entropy(spin_circuit, KEY(2), params, 400_000, spins, depth)
    row = (lattice, "TFIM", f"Gamma={Gamma:g}", f"{beta:g}")
    F_exact, S_exact = (exact[(*row, f"{name}_total")] for name in "FS")
    print(
        f"{lattice}, Gamma = {Gamma}, J/T = {beta}, depth {depth}: F {F} for {F_exact:.6f}, "
        f"S {S} for {S_exact:.6f}"
    )
    assert -3 * F.error < F.value - F_exact < above
    assert abs(S.value - S_exact) < off * S_exact + 3 * S.error


@pytest.mark.slow
def test_a_conditioned_state_is_trained_to_the_ground_state(exact):
    """VQE: not below E_0 by more than 3 standard errors, and less than 1e-3 above it."""
    spins = transverse_field_ising(square(2, 2), 2.0, 2.0)
    ground = condition(spin_circuit, {"K": spins.ground_state})
    vfe = VariationalFreeEnergy(ground, spin_hamiltonian, natural_gradient(), 256, chunk_size=32)
    params = vfe.run(KEY(0), 80, spins, 2, progress_bar=False).params
    E = vfe.evaluate(KEY(1), params, 16_384, spins, 2).estimates()["energy"]
    E_0 = exact["2x2 open", "TFIM", "Gamma=2", "inf", "E0"]
    print(f"VQE, 2x2 open, Gamma = 2: E {E} for {E_0:.6f}")
    assert -3 * E.error < E.value - E_0 < 1e-3


@pytest.mark.slow
def test_mean_field_and_spins_without_a_field_stay_above():
    """Depth 0 and depth 2 of the Heisenberg chain of five sites, whose free spins have no field at all."""
    spins = heisenberg(chain(5), beta=1.0)
    exact = -np.log(np.sum(np.exp(-np.linalg.eigvalsh(spins.terms.matrix()))))
    F = {}
    for depth in (0, 2):
        vfe = VariationalFreeEnergy(spin_circuit, spin_hamiltonian, natural_gradient(), 256, chunk_size=32)
        params = vfe.run(KEY(0), 150, spins, depth, progress_bar=False).params
        F[depth] = vfe.evaluate(KEY(1), params, 32_768, spins, depth).estimates()["free_energy"]
    print(f"Heisenberg chain: F {F[0]} (mean field), {F[2]} (depth 2) for {exact:.6f}")
    assert -3 * F[2].error < F[2].value - exact < F[0].value - exact - 10 * F[0].error
    assert F[0].value < -5 * math.log(2)
