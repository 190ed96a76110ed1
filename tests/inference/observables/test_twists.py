"""Averages over twists, one set of parameters for all of them, and p(K) of each at its own optimum."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from covered import REPEATS, assert_covered
from identity_flow import Identity
from jax import random
from numpyro.handlers import condition
from tiny_program import GAS as TINY_GAS
from tiny_program import digest
from tiny_program import routine as tiny_routine

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, hamiltonian, ideal_gas
from pnct.distributions import smooth_dispersion
from pnct.estimate import Estimate
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.closed_form.boltzmann_weights import fit_shell_energies, own_shell_energies
from pnct.inference.diagnostics.arviz_export import twists_to_dataset
from pnct.inference.observables.entropy import entropy
from pnct.inference.observables.entropy_error import entropy_error
from pnct.inference.observables.twist_grid import irreducible_twists, monkhorst_pack, random_twists
from pnct.inference.observables.twists import (
    STATES,
    evaluate_over_twists,
    over_twists,
    train_over_twists,
    twist_average,
    visits,
    with_twist,
)
from pnct.inference.sampling.sites import init_params
from pnct.models import twisted_gas
from pnct.systems.first_order import first_order_bound
from pnct.systems.ideal_gas import entropy as ideal_entropy


def test_average_and_its_errors():
    some = [Estimate(1.0, 0.3, 10.0), Estimate(3.0, 0.4, 20.0)]
    assert twist_average(some) == Estimate(2.0, pytest.approx(0.25), 30.0)
    assert twist_average(some, random=True).error == pytest.approx(np.sqrt(2) / np.sqrt(2))
    weighted = twist_average(some, [0.25, 0.75])
    assert weighted == Estimate(2.5, pytest.approx(np.hypot(0.25 * 0.3, 0.75 * 0.4)), 30.0)
    # as often in the list as the weights say; equal twists are one estimate, and not independent
    assert weighted.value == twist_average([some[0], *[some[1]] * 3]).value
    with pytest.raises(ValueError, match="Expected at least 2 twists"):
        twist_average(some[:1], random=True)
    with pytest.raises(ValueError, match="Expected no weights of random twists"):
        twist_average(some, [0.5, 0.5], random=True)


def free_electrons(gas):
    K = pnct.sample("K", dist.Occupation(gas))
    return pnct.sample("R", dist.Born(gas.orbitals, K, Identity()))


def test_evaluated_over_twists_within_errors_of_the_ideal_gas():
    gas = ElectronGas((2, 0), 2, 2.0, 0.4, 0.0)
    gases = [with_twist(gas, t) for t in ((-0.25, 0.25), (0.1, 0.4))]
    assert len(gases[0].orbitals) != len(gases[1].orbitals)  # each twist has its own table
    vfe = VariationalFreeEnergy(
        free_electrons, hamiltonian(gas, interaction=None), natural_gradient(), 1024, chunk_size=64
    )
    params, found = over_twists(
        random.key(0), vfe, gas, [g.twist for g in gases], num_steps=0, num_samples=2048
    )
    assert params == {}
    exact = [ideal_gas(g) for g in gases]
    for one, mass, ideal in zip(found.by_twist, found.effective_mass_by_twist, exact, strict=True):
        for name in ("energy", "kinetic", "entropy"):
            value = ideal.entropy if name == "entropy" else ideal.energy
            assert abs(one[name].value - value / 2) < 3 * one[name].error
        assert one["free_energy"].value == pytest.approx(ideal.free_energy / 2, rel=1e-9)
        assert abs(mass.value - 1) < 3 * mass.error
    assert found.average["energy"].value == pytest.approx(
        np.mean([one["energy"].value for one in found.by_twist])
    )
    assert abs(found.effective_mass.value - 1) < 3 * found.effective_mass.error
    assert abs(found.canonical_mass.value - 1) < 3 * found.canonical_mass.error
    np.testing.assert_array_equal(found.twists, [g.twist for g in gases])
    np.testing.assert_array_equal(found.weights, [0.5, 0.5])
    assert found.by_twist[0]["entropy"].ess == STATES * 2048 and found.by_twist[0]["energy"].ess == 2048
    table = twists_to_dataset(found)
    assert table["mass"].dims == table["weight"].dims == ("twist",) and table["twist_vector"].dims == (
        "twist",
        "axis",
    )
    assert (
        table["energy"].values[1] == found.by_twist[1]["energy"].value
        and table["mass_error"].values[0] == found.effective_mass_by_twist[0].error
    )


@pytest.mark.slow
def test_averages_over_a_grid_cover_the_ideal_gas_at_the_stated_rate():
    """200 repeats of 128 draws at each of two twists: the averages, and m*/m by twist and of both."""
    gas = ElectronGas((2, 0), 2, 2.0, 0.4, 0.0)
    gases = [with_twist(gas, t) for t in ((-0.25, 0.25), (0.1, 0.4))]
    vfe = VariationalFreeEnergy(
        free_electrons, hamiltonian(gas, interaction=None), natural_gradient(), 128, chunk_size=64
    )
    ideal, z = (
        [ideal_gas(g) for g in gases],
        {name: [] for name in ("energy", "entropy", "mass", "mass by twist")},
    )
    for i in range(REPEATS):
        found = evaluate_over_twists(random.key(i), vfe, {}, gases, 128)
        for name in ("energy", "entropy"):
            exact = np.mean([getattr(x, name) for x in ideal]) / gas.N
            z[name].append((found.average[name].value - exact) / found.average[name].error)
        z["mass"].append((found.effective_mass.value - 1) / found.effective_mass.error)
        z["mass by twist"].append([(m.value - 1) / m.error for m in found.effective_mass_by_twist])
    assert_covered(z)


@pytest.mark.slow
def test_averages_over_random_twists_cover_the_ideal_gas_at_the_stated_rate():
    """200 repeats of 16 twists, beside the average over a fine grid: the error is that of the choice of
    twists.
    """
    gas = ElectronGas((3, 0), 2, 2.0, 0.3, 0.0)

    def energy(twist):
        return ideal_gas(with_twist(gas, twist)).energy

    exact = np.mean([energy(twist) for twist in monkhorst_pack(8, 2)])
    values, z = [energy(twist) for twist in random_twists(random.key(0), REPEATS * 16, 2)], []
    for some in np.split(np.array(values), REPEATS):
        found = twist_average([Estimate(x, 0.0, 1.0) for x in some], random=True)
        z.append((found.value - exact) / found.error)
    assert_covered({"E": z})


@pytest.mark.slow
def test_one_set_of_parameters_serves_all_twists():
    """Trained at two twists of a grid in turn, the gas lies below the first-order bound at each, and by
    nearly as much.
    """
    gas = ElectronGas((3, 0), 2, 5.0, 0.3, 0.0)
    twists = monkhorst_pack(2, 2)[:2]
    vfe = VariationalFreeEnergy(twisted_gas, hamiltonian(gas), natural_gradient(), num_walkers=128)
    gases = [with_twist(gas, t) for t in twists]
    params = train_over_twists(random.key(0), vfe, gases, num_steps=60)
    found = evaluate_over_twists(random.key(1), vfe, params, gases, num_samples=8192)
    gains = [
        first_order_bound(g).free_energy / 3 - one["free_energy"].value
        for g, one in zip(gases, found.by_twist, strict=True)
    ]
    print(gains, found.average, found.effective_mass)
    assert min(gains) > 10 * max(one["free_energy"].error for one in found.by_twist)
    assert max(gains) < 1.2 * min(gains)  # they are images of each other
    assert 0.5 < found.effective_mass.value < 1.2


def test_twist_averaged_ideal_gas_is_closer_to_infinitely_many():
    """Canonical averages over a grid against the Fermi sea, E/N = E_F/2 at theta = 0 in 2D, for several N
    together.
    """

    def error(N, twist):
        gas = with_twist(ElectronGas((N, 0), 2, 1.0, 0.0), twist)
        return Estimate(ideal_gas(gas).energy / N - gas.E_F / 2, 0.0, 1.0)

    sizes = (3, 4, 6, 7, 8)
    single = [error(N, 0.0).value for N in sizes]
    averaged = [twist_average([error(N, t) for t in monkhorst_pack(6, 2)]).value for N in sizes]
    assert np.linalg.norm(averaged) < 0.3 * np.linalg.norm(single), (single, averaged)


def test_training_over_twists_goes_on_with_the_same_numbers(tmp_path):
    """Step i sees gas i modulo their number, also after an interruption."""
    vfe = tiny_routine()
    gases = [TINY_GAS, ElectronGas((2, 0), 2, 5.0, 0.6, 0.1, cutoff=1.3)]
    state = vfe.init(random.key(0), gases[0])
    for step in range(5):
        state, _ = vfe.update(state, gases[step % 2])
    settings = {"progress_bar": False, "checkpoint": tmp_path}
    train_over_twists(random.key(0), vfe, gases, 3, **settings)
    assert digest(train_over_twists(random.key(0), vfe, gases, 5, **settings)) == digest(state.average)
    with pytest.raises(ValueError, match=r"twists\[1\].rs \(5.0 there, 4.0 here\)"):
        train_over_twists(random.key(0), vfe, [TINY_GAS, TINY_GAS], 5, **settings)


@pytest.mark.parametrize(("points", "dim", "period"), [(4, 2, 4), (3, 2, 9), (4, 3, 8)])
def test_each_twist_is_seen_as_often_as_its_weight_says(points, dim, period):
    weights = irreducible_twists(monkhorst_pack(points, dim))[1]
    turn = visits(weights, 5 * period)
    np.testing.assert_array_equal(np.bincount(turn[:period]), np.round(period * weights))
    np.testing.assert_array_equal(turn, np.tile(turn[:period], 5))
    seen = np.cumsum(turn[:, None] == np.arange(len(weights)), axis=0)
    assert np.all(np.abs(seen - np.arange(1, len(turn) + 1)[:, None] * weights) <= 1)
    np.testing.assert_array_equal(turn[:7], visits(weights, 7))  # the same in a shorter run


@pytest.mark.parametrize("number", [1, 3, 7, 49])
def test_equal_weights_are_one_twist_after_the_other(number):
    np.testing.assert_array_equal(visits(np.full(number, 1 / number), 2000), np.arange(2000) % number)


def test_training_with_weights_goes_on_with_the_same_numbers(tmp_path):
    """Weights 1/4 and 3/4: the steps see 1, 0, 1, 1, 1, ... also after an interruption."""
    vfe = tiny_routine()
    gases = [TINY_GAS, ElectronGas((2, 0), 2, 5.0, 0.6, 0.1, cutoff=1.3)]
    settings = {"progress_bar": False, "checkpoint": tmp_path, "weights": [0.25, 0.75]}
    state = vfe.init(random.key(0), gases[0])
    for i in (1, 0, 1, 1, 1):
        state, _ = vfe.update(state, gases[i])
    train_over_twists(random.key(0), vfe, gases, 2, **settings)
    assert digest(train_over_twists(random.key(0), vfe, gases, 5, **settings)) == digest(state.average)
    with pytest.raises(ValueError, match=r"weights\[0\] \(0.25 there, 0.5 here\)"):
        train_over_twists(random.key(0), vfe, gases, 5, progress_bar=False, checkpoint=tmp_path)


def test_training_begins_at_given_parameters():
    vfe = tiny_routine()
    gases = [TINY_GAS, ElectronGas((2, 0), 2, 5.0, 0.6, 0.1, cutoff=1.3)]
    first = train_over_twists(random.key(0), vfe, gases, 2, progress_bar=False)
    settings = {"progress_bar": False, "init_params": first}
    assert digest(train_over_twists(random.key(1), vfe, gases, 0, **settings)) == digest(first)
    state = vfe.init(random.key(1), gases[0])._replace(params=first, average=first)
    for i in range(2):
        state, _ = vfe.update(state, gases[i])
    assert digest(train_over_twists(random.key(1), vfe, gases, 2, **settings)) == digest(state.average)
    for wrong, message in (
        ({"levels": first["levels"]}, r"Expected init_params of \['levels', 'shift'\]; got \['levels'\]"),
        (first | {"levels": first["shift"]}, "as the model makes them; got another 'levels'"),
        (state, "got TrainState"),
    ):
        with pytest.raises(ValueError, match=message):
            train_over_twists(random.key(1), vfe, gases, 2, progress_bar=False, init_params=wrong)


def smooth_electrons(gas):
    """Free electrons whose p(K) has parameters that serve all twists."""
    levels = pnct.module("levels", smooth_dispersion(gas))
    K = pnct.sample("K", dist.Occupation(gas, levels))
    return pnct.sample("R", dist.Born(gas.orbitals, K, Identity()))


def wrong_levels(gas):
    params = init_params(smooth_electrons, random.key(0), (gas,))
    wrong = jnp.array([-1.2, 0.3, 0.2])
    return {"levels": eqx.tree_at(lambda module: module.coefficients, params["levels"], wrong)}


def exact_entropy(gas, params):
    """Of p(K) with shell energies alone: that of the ideal gas with these levels."""
    shifts = np.asarray(params["levels"].shell_shifts())[gas.shell_index]
    up, down = zip(gas.reduced_energies, gas.num_electrons, strict=True)
    return sum(ideal_entropy(np.asarray(b) + shifts, n) for b, n in (up, down) if n)


def test_own_levels_of_free_electrons_come_back_from_a_wrong_start():
    """One step in closed form is exact without an interaction: F and S are ideal at both twists, each with
    its own table, and so is every level that is ever occupied.
    """
    gas = ElectronGas((2, 0), 2, 2.0, 0.4, 0.0)
    gases = [with_twist(gas, t) for t in ((-0.25, 0.25), (0.1, 0.4))]
    assert len(gases[0].orbitals) != len(gases[1].orbitals)
    params = wrong_levels(gases[0])
    free = hamiltonian(gas, interaction=None)
    vfe = VariationalFreeEnergy(smooth_electrons, free, natural_gradient(), 512, chunk_size=64)
    weights = np.array([0.25, 0.75])
    found = evaluate_over_twists(random.key(1), vfe, params, gases, 512, weights=weights, fit_samples=2048)

    exact = np.array([ideal_gas(g).entropy for g in gases])
    for i, g in enumerate(gases):
        own = found.params_by_twist[i]
        assert exact_entropy(g, own_shell_energies(vfe, params, g)) > exact[i] + 0.1  # the start was wrong
        assert exact_entropy(g, own) == pytest.approx(exact[i], abs=1e-9)
        shifts = np.asarray(own["levels"].shell_shifts())
        np.testing.assert_allclose(shifts, shifts[0], atol=1e-8)
        F, S = found.by_twist[i]["free_energy"], found.by_twist[i]["entropy"]
        assert F.value == pytest.approx(ideal_gas(g).free_energy / g.N, rel=1e-9)
        assert abs(S.value - exact[i] / g.N) < 4 * S.error
        mass = found.effective_mass_by_twist[i]
        assert abs(mass.value - 1) < 4 * mass.error
    assert abs(found.effective_mass.value - 1) < 4 * found.effective_mass.error
    total = found.average["entropy"].value * gas.N
    assert total == pytest.approx(gas.N * weights @ [one["entropy"].value for one in found.by_twist])
    assert found.effective_mass.value == pytest.approx(total / (weights @ exact))


def test_error_of_the_entropy_holds_that_of_the_fit():
    """Electrons with their repulsion, whose local energy has noise: S of p(K) fitted 40 times, exactly known
    each time, scatters as is said, and the stated errors are those of states and fit together.
    """
    gas = ElectronGas((2, 0), 2, 2.0, 0.5, (0.1, 0.2))
    params = init_params(smooth_electrons, random.key(0), (gas,))
    vfe = VariationalFreeEnergy(smooth_electrons, hamiltonian(gas), natural_gradient(), 512, chunk_size=64)
    found = evaluate_over_twists(random.key(2), vfe, params, [gas], 1024, fit_samples=512)
    S, E, F = (found.by_twist[0][name] for name in ("entropy", "energy", "free_energy"))
    own = found.params_by_twist[0]

    alone = entropy(smooth_electrons, random.key(3), own, STATES * 1024, gas).error
    assert abs(S.value * gas.N - exact_entropy(gas, own)) < 4 * alone
    draws = vfe.evaluate(random.fold_in(random.key(2), 0), own, 1024, gas)
    noise = entropy_error(gas, draws, S, 512).closed_form
    assert noise > 2 * alone
    assert S.error == pytest.approx(np.hypot(alone, noise) / gas.N, rel=0.03)
    plain = draws.estimates()
    assert E.error == pytest.approx(np.hypot(plain["energy"].error, gas.temperature * noise) / gas.N)
    assert plain["free_energy"].scaled(1 / gas.N) == F

    start = own_shell_energies(vfe, params, gas)
    fits = [fit_shell_energies(vfe, random.key(i), start, 512, gas) for i in range(10, 50)]
    scatter = np.std([exact_entropy(gas, fit) for fit in fits], ddof=1)
    assert noise == pytest.approx(scatter, rel=0.35)  # the scatter of 40 is known to 11 %


def test_states_are_not_drawn_where_they_are_given():
    gas = ElectronGas((2, 0), 2, 2.0, 0.4, (0.1, 0.2))
    cold = condition(free_electrons, {"K": gas.ground_state})
    vfe = VariationalFreeEnergy(cold, hamiltonian(gas, interaction=None), natural_gradient(), 32)
    found = evaluate_over_twists(random.key(0), vfe, {}, [gas], 32)
    assert found.average["entropy"].value == 0


GRID = [[0.1, 0.2], [0.3, 0.4]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"twists": [0.1, 0.2]}, r"Expected twists of shape \(T, 2\), T > 0; got shape \(2,\)"),
        ({"twists": np.zeros((2, 3))}, r"Expected twists of shape \(T, 2\), T > 0; got shape \(2, 3\)"),
        ({"twists": [[0.1, np.inf]]}, "Expected finite twists"),
        ({"twists": [[0.1, 0.2]], "random": True}, "Expected at least 2 twists; got 1"),
        ({"fit_samples": 39}, "Expected fit_samples = 0, or .* >= 40; got 39 and 100"),
        ({"fit_samples": 100, "num_samples": 20}, "num_samples >= 40; got 100 and 20"),
        ({"fit_samples": -1}, "Expected fit_samples to be a whole number >= 0; got -1"),
        ({"num_samples": 1}, "Expected num_samples to be a whole number >= 2; got 1"),
        ({"gas": ElectronGas((3, 0), 2, 2.0, 0.0, 0.0), "fit_samples": 40}, "Expected theta > 0"),
        ({"num_steps": -1}, "Expected num_steps to be a whole number >= 0; got -1"),
    ],
)
def test_what_cannot_be_averaged_is_refused_before_anything_is_traced(unchecked, changes, message):
    settings = {"gas": ElectronGas((3, 0), 2, 2.0, 0.4, 0.0), "twists": GRID, "num_samples": 100}
    with pytest.raises(ValueError, match=message):
        over_twists(**({"key": random.key(0), "vfe": None, "num_steps": 0} | settings | changes))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.5, 0.6], r"Expected weights > 0 with a sum of 1; got \[0.5, 0.6\]"),
        ([1.5, -0.5], "Expected weights > 0"),
        ([np.nan, 1.0], "Expected weights > 0"),
        ([1.0], r"Expected one weight for each of 2 twists; got shape \(1,\)"),
        ("equal", "Expected one weight for each of 2 twists; got 'equal'"),
    ],
)
def test_weights_that_are_none_are_refused(unchecked, weights, message):
    for use in (
        lambda: train_over_twists(random.key(0), None, [TINY_GAS] * 2, 2, weights=weights),
        lambda: evaluate_over_twists(random.key(0), None, {}, [TINY_GAS] * 2, 100, weights=weights),
        lambda: twist_average([Estimate(1.0, 0.1, 1.0)] * 2, weights),
    ):
        with pytest.raises(ValueError, match=message):
            use()


def test_a_model_without_levels_has_none_to_fit():
    gas = ElectronGas((2, 0), 2, 2.0, 0.4, (0.1, 0.2))
    free = hamiltonian(gas, interaction=None)
    vfe = VariationalFreeEnergy(free_electrons, free, natural_gradient(), 32)
    with pytest.raises(ValueError, match=r"Expected a network of p\(K\) with shell energies .*; got none"):
        evaluate_over_twists(random.key(0), vfe, {}, [gas], 64, fit_samples=64)
