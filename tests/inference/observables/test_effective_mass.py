"""m*/m is one on the ideal gas, and the given one for quasi-particles of another mass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from covered import assert_covered, parts
from made_up_draws import draws_of_states

from pnct import ElectronGas, ideal_gas
from pnct.distributions import Occupation, shell_energies
from pnct.estimate import Estimate
from pnct.inference.observables.effective_mass import (
    EffectiveMass,
    effective_mass,
    mass_from_entropy,
    mass_from_landau,
    mass_from_levels,
)
from pnct.inference.observables.landau import landau_functional, landau_parameters

GAS = ElectronGas((5, 0), 2, 2.0, 0.3, 0.25)


def draws_of(gas, samples=20_000, seed=0):
    program = Occupation(gas)
    K = jax.jit(lambda key: program.sample(seed=key, sample_shape=(samples,)))(jax.random.key(seed))
    log_p = np.asarray(jax.jit(program.log_prob)(K))
    return draws_of_states(K, log_p, np.zeros(samples), gas.temperature)


def test_ideal_gas_has_mass_one():
    params = {"any name": shell_energies(GAS)(jax.random.key(0)), "flow": np.ones(2)}
    mass = effective_mass(GAS, draws_of(GAS), params)
    assert abs(mass.entropy.value - 1) < 3 * mass.entropy.error < 0.05
    assert mass.levels.value == pytest.approx(1, abs=1e-12) and mass.levels.error == 0  # but for rounding
    assert mass.quasi_particles.value == pytest.approx(1, abs=1e-9) and mass.quasi_particles.error == 0
    assert "learned levels 1.0000   Landau functional 1.0000" in str(mass)
    assert (
        str(mass).startswith("s/s_0 1.0")
        and "learned levels" in str(mass)
        and "Landau functional" in str(mass)
    )
    few = draws_of(GAS, 100)
    assert "learned levels" not in str(effective_mass(GAS, few))
    known = Estimate(0.9 * ideal_gas(GAS).entropy, 0.01 * ideal_gas(GAS).entropy, 1e6)
    assert effective_mass(GAS, few, entropy=known).entropy == pytest.approx((0.9, 0.01, 1e6))


def test_heavy_quasi_particles():
    """The ideal table at twice the temperature is that of electrons of mass two."""
    hotter = ElectronGas(GAS.num_electrons, GAS.dim, GAS.rs, 2 * GAS.theta, GAS.twist, GAS.cutoff)
    draws = draws_of(hotter)._replace(temperature=float(GAS.temperature))
    _, first = np.unique(GAS.shell_index, return_index=True)
    shifts = jnp.asarray(-0.5 * np.asarray(GAS.orbital_energies)[first] / GAS.temperature)
    network = shell_energies(GAS)(jax.random.key(0)).with_shell_shifts(shifts)
    mass = effective_mass(GAS, draws, {"any name": network})
    assert mass.levels.value == pytest.approx(2, rel=1e-9)
    assert mass.quasi_particles.value == pytest.approx(2, rel=1e-9)
    expected = ideal_gas(hotter).entropy / ideal_gas(GAS).entropy
    assert abs(mass.entropy.value - expected) < 3 * mass.entropy.error
    assert abs(mass.canonical.value - 2) < 3 * mass.canonical.error < 0.1


def test_where_there_is_nothing_to_measure():
    cold = ElectronGas((5, 0), 2, 2.0, 0.0, 0.0)
    assert np.isnan(mass_from_entropy(cold, Estimate(0.0, 0.0, 10)).value)
    assert np.isnan(mass_from_levels(cold, np.zeros(cold.shell_index.max() + 1)).value)
    frozen = draws_of(GAS, 100)
    frozen.samples["K"] = np.tile(GAS.ground_state, (100, 1))
    assert np.isnan(effective_mass(GAS, frozen).quasi_particles.value)
    with pytest.raises(ValueError, match="Expected shifts of shape"):
        mass_from_levels(GAS, np.zeros(2))
    scattered = mass_from_levels(GAS, 0.1 * np.random.default_rng(0).normal(size=GAS.shell_index.max() + 1))
    assert 0 < scattered.error < 1


def test_what_each_route_is_and_that_they_differ_is_said():
    mass = EffectiveMass(
        Estimate(0.75, 1e-3, 10),
        Estimate(0.78, 1e-3, 10),
        Estimate(0.77, np.nan, 2),
        Estimate(0.80, 2e-3, 10),
    )
    assert mass.routes() == {
        "s/s_0": "0.7500(10)",
        "canonical": "0.7800(10)",
        "learned levels": "0.7700",
        "Landau functional": "0.8000(20)",
    }
    assert "nan" not in str(mass)
    said = mass.explanation()
    assert said.startswith("s/s_0 is m*/m for T -> 0") and "canonical is the mass" in said
    assert said.endswith("differ by up to 0.05, 22 errors.")  # 0.05/hypot(1e-3, 2e-3)
    nothing = Estimate(np.nan, np.nan, 0)
    alone = mass._replace(canonical=nothing, levels=nothing, quasi_particles=nothing)
    assert list(alone.routes()) == ["s/s_0"] and "differ" not in alone.explanation()


def test_a_line_through_two_levels_has_no_scatter_to_show():
    two = ElectronGas((1, 0), 2, 2.0, 1.0, 0.0, cutoff=1.5)
    assert two.shell_index.max() == 1
    shifts = np.linspace(0, 0.3, two.shell_index.max() + 1)
    mass = mass_from_levels(two, shifts)
    assert np.isfinite(mass.value) and np.isnan(mass.error)
    assert "nan" not in str(EffectiveMass(mass, mass, mass, mass))


def test_the_slope_covers_the_truth_at_the_stated_rate():
    """200 repeats of 1000 draws of the ideal gas with noise, whose m*/m is one and whose F_1 is zero."""
    draws = draws_of(GAS, samples=200 * 1000)
    K, free = draws.samples["K"], np.sum(np.asarray(GAS.orbital_energies)[draws.samples["K"]], axis=1)
    y, z = free + np.random.default_rng(0).normal(0, 0.3, len(free)), {"m*/m": [], "F_1": []}
    for part in parts(1000):
        fit = landau_functional(GAS, K[part], y[part])
        mass, F_1 = mass_from_landau(GAS, fit), landau_parameters(GAS, fit, 1)["up-up"][0]
        z["m*/m"].append((mass.value - 1) / mass.error)
        z["F_1"].append(F_1.value / F_1.error)
    assert_covered(z)
