"""The routine as a user meets it: reproducible, resumable, independent of chunks, exact on the ideal gas,
clear when misused.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_program
from jax import random
from numpyro.handlers import condition

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, hamiltonian
from pnct.distributions import transformer
from pnct.estimate import mean_of_independent
from pnct.flows import backflow
from pnct.inference import VariationalFreeEnergy, natural_gradient, to_arviz
from pnct.inference.training.loop import in_precision
from pnct.models import electron_gas
from pnct.systems.first_order import first_order_bound

GAS = ElectronGas((2, 1), dim=2, rs=4.0, theta=0.4, twist=(0.1, 0.25), cutoff=2.0)
GENTLE = natural_gradient(max_norm=0.02)  # a dozen walkers are noisy
TRACES = []
GROUPS = ("posterior", "sample_stats")


def model(gas):
    TRACES.append(gas)
    occupation = pnct.module("occupation", transformer(gas, layers=1, width=8, heads=2))
    flow = pnct.module("flow", backflow(gas.space, depth=1, width=4))
    K = pnct.sample("K", dist.Occupation(gas, occupation))
    return pnct.sample("R", dist.Born(gas.orbitals, K, flow))


@pytest.fixture(scope="module")
def vfe():
    return VariationalFreeEnergy(model, hamiltonian(GAS), GENTLE, num_walkers=12, chunk_size=4)


@pytest.fixture(scope="module")
def result(vfe):
    return vfe.run(random.key(0), 6, GAS, progress_bar=False)


def equal(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: np.array_equal(x, y), a, b))


def test_two_runs_with_one_key_are_identical(vfe, result):
    again = vfe.run(random.key(0), 6, GAS, progress_bar=False)
    assert equal(result.params, again.params)
    assert equal(result.history, again.history)
    assert np.all(result.history.updated) and not np.any(result.history.num_failed)


def test_before_the_first_step_nothing_has_moved(vfe):
    state = vfe.init(random.key(0), GAS)
    assert equal(state.average, state.params)
    assert jax.tree.structure(state.last_update) == jax.tree.structure(state.params)
    assert not any(np.any(x) for x in jax.tree.leaves(state.last_update))
    assert any(np.any(x) for x in jax.tree.leaves(state.params))


def test_three_and_three_steps_are_six_bitwise(vfe, result):
    half = vfe.run(random.key(0), 3, GAS, progress_bar=False)
    rest = vfe.run(random.key(7), 3, GAS, init_state=half.state, progress_bar=False)
    assert equal(rest.params, result.params)
    assert equal(rest.state.opt_state, result.state.opt_state)
    assert int(rest.state.step) == 6
    np.testing.assert_array_equal(rest.history.free_energy, result.history.free_energy[3:])


@pytest.mark.slow
def test_a_state_in_single_precision_stays_so_and_trains_as_one_in_double_precision():
    """Under jax_enable_x64, where float32 draws other walkers; electron_gas, because its flow's metric is
    remembered.
    """
    gas = ElectronGas((2, 0), dim=2, rs=4.0, theta=0.4, cutoff=2.0)
    vfe = VariationalFreeEnergy(electron_gas, hamiltonian(gas), GENTLE, num_walkers=64, precision="float32")
    single = vfe.init(random.key(0), gas)
    double = in_precision(single, "float64")
    for _ in range(3):
        double, expected = vfe.update(double, gas)
        moved, found = vfe.update(single, gas)
        assert jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype, moved, single))
        single = moved
        error = np.hypot(found.free_energy_error, expected.free_energy_error)
        assert abs(found.free_energy - expected.free_energy) < 4 * error
    assert bool(found.updated) and not int(found.num_failed + found.num_not_inverted)
    draws = vfe.evaluate(random.key(1), single.params, 4, gas)
    assert draws.kinetic.dtype == np.complex128 and draws.samples["R"].dtype == np.float64


def test_training_in_single_precision_is_a_setting(tmp_path):
    """The evaluation is that of the same parameters in double precision, to the bit."""
    single = tiny_program.routine(precision="float32")
    result = single.run(random.key(0), 2, tiny_program.GAS, progress_bar=False, checkpoint=tmp_path)
    assert {leaf.dtype for leaf in jax.tree.leaves(result.params)} == {np.dtype("float32")}
    double = in_precision(result.params, "float64")
    draws, expected = (
        vfe.evaluate(random.key(1), params, 32, tiny_program.GAS)
        for vfe, params in ((single, result.params), (tiny_program.routine(), double))
    )
    assert draws.free_energy.dtype == np.float64
    np.testing.assert_array_equal(draws.free_energy, expected.free_energy)
    with pytest.raises(ValueError, match=r"differs in precision.* \('float32' there, 'float64' here\)"):
        tiny_program.routine().run(random.key(0), 2, tiny_program.GAS, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"Expected precision .float32., or None .*; got 'half'"):
        tiny_program.routine(precision="half")


def test_the_result_is_the_average_over_the_last_steps(vfe):
    state, average = vfe.init(random.key(0), GAS), None
    result = vfe.run(random.key(0), 12, GAS, progress_bar=False)
    for step in range(12):
        state, _ = vfe.update(state, GAS)
        weight = min(1, 8 / (step + 1))
        moved = jax.tree.map(
            lambda a, p, w=weight: (1 - w) * a + w * p, average or state.params, state.params
        )
        average = moved
    for a, b in zip(jax.tree.leaves(average), jax.tree.leaves(result.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    assert not equal(result.params, result.state.params)


def test_one_compilation_serves_all_steps_and_densities(vfe, result):
    state, _ = vfe.update(result.state, GAS)
    before = len(TRACES)
    state, _ = vfe.update(state, GAS)
    other = ElectronGas(GAS.num_electrons, GAS.dim, 7.0, 0.3, GAS.twist, GAS.cutoff)
    denser = VariationalFreeEnergy(model, hamiltonian(other), vfe.optim, vfe.num_walkers, vfe.chunk_size)
    denser.update(state, other)
    assert len(TRACES) == before


def test_a_hamiltonian_of_another_density_is_refused_wherever_they_meet(vfe, result):
    other = ElectronGas(GAS.num_electrons, GAS.dim, 7.0, 0.3, GAS.twist, GAS.cutoff)
    for use in (
        lambda: vfe.init(random.key(0), other),
        lambda: vfe.update(result.state, other),
        lambda: vfe.evaluate(random.key(0), result.params, 20, other),
        lambda: vfe.run(random.key(0), 1, other, init_state=result.state, progress_bar=False),
    ):
        with pytest.raises(ValueError, match="Expected the hamiltonian of the system of the model"):
            use()


def test_the_function_that_makes_the_hamiltonian_serves_as_well(vfe):
    made = tiny_program.MadeUpEnergy()
    a, b = (
        tiny_program.routine(hamiltonian=x).run(random.key(0), 2, tiny_program.GAS, progress_bar=False)
        for x in (made, lambda system: made)
    )
    assert equal(a.history, b.history)
    with pytest.raises(ValueError, match=r"Expected .* a function system -> Hamiltonian; got .* float"):
        VariationalFreeEnergy(model, lambda system: 0.0, vfe.optim).init(random.key(0), GAS)


def test_results_do_not_depend_on_the_chunk_size():
    """13 walkers in chunks of 2 and of 5, neither of which divides them."""
    gas = tiny_program.GAS
    each = [tiny_program.routine(chunk_size=size) for size in (2, 5)]
    state = each[0].init(random.key(0), gas)
    (reference, info), (moved, same_info) = (vfe.update(state, gas) for vfe in each)

    def same(a, b):
        return jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12), a, b)

    same(reference.params, moved.params)
    same(info, same_info)
    draws = [vfe.evaluate(random.key(1), reference.params, 20, gas) for vfe in each]
    same(*(x._replace(measured_site=0, state_site=0, dims=0, unit=0, parts=0) for x in draws))
    exported = (to_arviz(x, system=gas) for x in draws)
    numbers = [
        {name: idata[group][name].values for group in GROUPS for name in idata[group]} for idata in exported
    ]
    same(*numbers)
    assert numbers[0].keys() >= {"K", "R", "K_by_shell", "energy", "free_energy", "log_det_jacobian"}


def test_evaluation_draws_what_is_asked(vfe, result):
    draws = vfe.evaluate(random.key(1), result.params, 20, GAS)
    assert draws.samples["K"].shape == (20, 3)
    assert draws.samples["R"].shape == (20, 3, 2)
    assert draws.measured_site == "R" and draws.state_site == "K" and draws.num_particles == 3
    assert draws.temperature == pytest.approx(GAS.temperature)
    again = vfe.evaluate(random.key(1), result.params, 20, GAS)
    np.testing.assert_array_equal(draws.samples["R"], again.samples["R"])


def test_a_conditioned_state_has_no_entropy_and_leaves_its_law_alone():
    gas = tiny_program.GAS
    fixed = condition(tiny_program.model, {"K": np.array([0, 2])})
    vfe = tiny_program.routine(model=fixed, optim=optax.sgd(0.1))
    state = vfe.init(random.key(0), gas)
    moved, info = vfe.update(state, gas)
    assert float(info.entropy) == 0
    assert equal(moved.params["levels"], state.params["levels"])
    assert not equal(moved.params["shift"], state.params["shift"])
    draws = vfe.evaluate(random.key(1), moved.params, 8, gas)
    assert set(draws.samples) == {"R"}
    assert not np.any(draws.log_prob)


def untrained(num_electrons, dim, twist, num_samples):
    """Each quantity of the untrained program beside its exact value; energies are real, and det J is one."""
    gas = ElectronGas(num_electrons, dim, 5.0, 0.3, twist)
    bound = first_order_bound(gas)
    vfe = VariationalFreeEnergy(model, hamiltonian(gas), optax.sgd(0.1), num_walkers=2000, chunk_size=50)
    draws = vfe.evaluate(random.key(2), vfe.init(random.key(0), gas).params, num_samples, gas)
    np.testing.assert_allclose(draws.kinetic.imag, 0, atol=1e-10)
    np.testing.assert_allclose(draws.diagnostics["log_det_jacobian"], 0, atol=1e-12)
    exact = bound._asdict()
    return {name: (found, exact[name]) for name, found in draws.estimates().items()}


def test_the_untrained_program_is_the_first_order_bound():
    """Identity flow and ideal p(K): K = E_0, V = <V>_0, S = S_0, F = K + V - T S, at 4 sigma."""
    for name, (estimate, exact) in untrained((3, 0), 2, 0.25, 8000).items():
        assert abs(estimate.value - exact) < 4 * estimate.error, (name, estimate, exact)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_electrons", "dim", "twist", "samples"),
    [
        ((3, 0), 2, 0.25, 240_000),
        ((7, 0), 3, 0.25, 240_000),
        ((2, 2), 3, 0.1, 400_000),
    ],  # there K and V nearly cancel in F
)
def test_the_untrained_program_is_the_first_order_bound_to_one_in_a_thousand(
    num_electrons, dim, twist, samples
):
    """As above, at 3 sigma, with standard errors of 1e-3 relative."""
    for name, (estimate, exact) in untrained(num_electrons, dim, twist, samples).items():
        print(num_electrons, dim, name, estimate, exact)
        assert abs(estimate.value - exact) < 3 * estimate.error, (name, estimate, exact)
        assert estimate.error < 1e-3 * abs(exact) or name == "entropy"


def no_measured_site(gas):
    return pnct.sample("K", dist.Occupation(gas))


def two_measured_sites(gas):
    flow = pnct.module("flow", backflow(gas.space, depth=1, width=2))
    pnct.sample("A", dist.Born(gas.orbitals, jnp.asarray(gas.ground_state), flow))
    pnct.sample("B", dist.Born(gas.orbitals, jnp.asarray(gas.ground_state), flow))


def a_site_after_the_electrons(gas):
    flow = pnct.module("flow", backflow(gas.space, depth=1, width=2))
    pnct.sample("R", dist.Born(gas.orbitals, jnp.asarray(gas.ground_state), flow))
    pnct.sample("K", dist.Occupation(gas))


@pytest.mark.parametrize(
    ("wrong_model", "message"),
    [
        (no_measured_site, r"exactly one measured site .*in the model; got 0 \(K: Occupation\)"),
        (two_measured_sites, r"exactly one measured site .*in the model; got 2"),
        (a_site_after_the_electrons, "before the measured site 'R'; got 'K' after it"),
        (condition(model, {"R": np.zeros((3, 2))}), "unobserved measured site; got 'R'"),
        (condition(model, {"K": np.array([1, 0, 0])}), "conditioned site 'K': Expected strictly ascending"),
        (condition(model, {"K": np.array([0, 99, 0])}), "conditioned site 'K': Expected orbitals 0 <= k <"),
        (condition(model, {"K": np.array([0, 1])}), r"Expected K of shape \(3,\)"),
    ],
)
def test_a_model_that_is_no_density_matrix_is_refused(wrong_model, message):
    vfe = VariationalFreeEnergy(wrong_model, hamiltonian(GAS), natural_gradient())
    with pytest.raises(ValueError, match=message):
        vfe.init(random.key(0), GAS)


def test_bad_arguments_are_refused_before_anything_is_traced(vfe):
    def make(**kwargs):
        return VariationalFreeEnergy(model, hamiltonian(GAS), natural_gradient(), **kwargs)

    for kwargs in ({"num_walkers": 1}, {"num_walkers": 2.5}, {"chunk_size": 0}, {"chunk_size": True}):
        with pytest.raises(ValueError, match="whole number"):
            make(**kwargs)
    with pytest.raises(ValueError, match="Expected optim"):
        VariationalFreeEnergy(model, hamiltonian(GAS), "adam")
    with pytest.raises(ValueError, match="Expected a hamiltonian"):
        VariationalFreeEnergy(model, None, natural_gradient())
    with pytest.raises(ValueError, match="Expected model"):
        VariationalFreeEnergy(None, hamiltonian(GAS), natural_gradient())
    with pytest.raises(ValueError, match="typed random key"):
        vfe.init(0, GAS)
    with pytest.raises(ValueError, match="num_steps"):
        vfe.run(random.key(0), -1, GAS)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::pnct.inference.NumericalWarning"
)  # the wrong start is not one-to-one everywhere
def test_training_returns_to_the_ideal_gas_from_a_wrong_start():
    """Coulomb off: F_0 is the minimum, and training reaches it within 3e-4 relative from a random start."""
    gas = ElectronGas((3, 0), 2, 1.0, 0.5, 0.25)
    vfe = VariationalFreeEnergy(
        model, hamiltonian(gas, interaction=None), natural_gradient(), 512, chunk_size=32
    )
    state = vfe.init(random.key(0), gas)

    def noise(x):
        return x + 0.2 * random.normal(random.key(x.size), x.shape)

    state = state._replace(params=jax.tree.map(noise, state.params))
    exact = pnct.ideal_gas(gas).free_energy
    result = vfe.run(random.key(1), 300, gas, init_state=state, progress_bar=False)
    draws = vfe.evaluate(random.key(2), result.params, 50_000, gas)
    F = mean_of_independent((draws.kinetic + draws.potential).real + draws.temperature * draws.log_prob)
    assert result.history.free_energy[0] > exact + 0.05
    assert abs(F.value - exact) < 3e-4 * abs(exact) + 3 * F.error
    assert F.error < 3e-4 * abs(exact)
    assert F.value > exact - 4 * F.error
