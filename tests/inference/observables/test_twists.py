"""Twists: grids, averages, and the size correction against sums done by brute force."""

import numpy as np
import pytest
from covered import REPEATS, assert_covered
from identity_flow import Identity
from jax import random
from tiny_program import GAS as TINY_GAS
from tiny_program import digest
from tiny_program import routine as tiny_routine

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, hamiltonian, ideal_gas
from pnct.estimate import Estimate
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.diagnostics.arviz_export import twists_to_dataset
from pnct.inference.observables.twists import (
    evaluate_over_twists,
    monkhorst_pack,
    over_twists,
    random_twists,
    train_over_twists,
    twist_average,
    with_twist,
)
from pnct.models import twisted_gas
from pnct.systems.first_order import first_order_bound


def test_average_and_its_errors():
    some = [Estimate(1.0, 0.3, 10.0), Estimate(3.0, 0.4, 20.0)]
    assert twist_average(some) == Estimate(2.0, pytest.approx(0.25), 30.0)
    assert twist_average(some, random=True).error == pytest.approx(np.sqrt(2) / np.sqrt(2))
    with pytest.raises(ValueError, match="Expected at least 2 twists"):
        twist_average(some[:1], random=True)


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
        random.key(0), vfe, gas, [g.twist for g in gases], num_steps=0, num_samples=4096
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
    np.testing.assert_array_equal(found.twists, [g.twist for g in gases])
    table = twists_to_dataset(found)
    assert table["mass"].dims == ("twist",) and table["twist_vector"].dims == ("twist", "axis")
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
    _, found = over_twists(random.key(0), vfe, gas, twists, num_steps=60, num_samples=8192)
    gases = [with_twist(gas, t) for t in twists]
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
