"""What to_arviz made of draws, and its file, are as good as the draws: equal numbers in every observable."""

import jax
import numpy as np
import pytest
import xarray
from tiny_program import GAS, model, routine

from pnct.inference import to_arviz
from pnct.inference.closed_form.boltzmann_weights import occupation_optimum, shell_energy_shifts
from pnct.inference.observables.correlations import occupations, pair_correlation, structure_factor
from pnct.inference.observables.effective_mass import effective_mass
from pnct.inference.observables.landau import landau_functional
from pnct.inference.observables.momentum_distribution import momentum_distribution
from pnct.inference.observables.thermodynamics import heat_capacity, pressure, state_point
from pnct.inference.sampling.saved_draws import as_draws

KEY = jax.random.key(0)
SAMPLES = 64


@pytest.fixture(scope="module")
def made():
    """(parameters, draws with one failed sample, history)."""
    vfe = routine()
    result = vfe.run(KEY, 2, GAS, progress_bar=False)
    draws = vfe.evaluate(KEY, result.params, SAMPLES, GAS)
    potential = np.array(draws.potential)
    potential[3] = np.nan
    kinetic = draws.kinetic + 1j * np.random.default_rng(0).normal(size=SAMPLES)
    kinetic.imag[5] = np.nan
    draws = draws._replace(potential=potential, kinetic=kinetic.astype(draws.kinetic.dtype))
    return result.params, draws, result.history


@pytest.fixture(scope="module", params=["container", "file", "path", "name of the file"])
def saved(request, made, tmp_path_factory):
    import arviz

    _, draws, history = made
    idata = to_arviz(draws, history, system=GAS)
    if request.param == "container":
        return idata
    path = tmp_path_factory.mktemp("saved") / "draws.nc"
    idata.to_netcdf(str(path), engine="h5netcdf")
    return {"file": arviz.from_netcdf(str(path)), "path": path, "name of the file": str(path)}[request.param]


def test_the_draws_come_back_bit_for_bit(made, saved):
    _, draws, _ = made
    back = as_draws(saved)
    for name, x in draws._asdict().items():
        jax.tree.map(np.testing.assert_array_equal, getattr(back, name), x)
    for name in ("kinetic", "potential", "log_prob", "is_exact"):
        assert getattr(back, name).dtype == np.asarray(getattr(draws, name)).dtype
    assert as_draws(back) is back


def test_every_observable_takes_them(made, saved):
    params, draws, _ = made
    q = 2 * np.pi / GAS.L * np.array([[1, 0], [1, 1]])

    def observables(x):
        return (
            pair_correlation(x, GAS.space, bins=4),
            structure_factor(x, GAS.space, q),
            occupations(x, len(GAS.orbitals)),
            landau_functional(GAS, x),
            effective_mass(GAS, x),
            heat_capacity(x),
            pressure(GAS, x),
            state_point(x),
            occupation_optimum(GAS, x),
            shell_energy_shifts(GAS, x),
            momentum_distribution(KEY, model, params, x, GAS),
        )

    jax.tree.map(np.testing.assert_array_equal, observables(saved), observables(draws))
    finite = draws.finite()
    by_arrays = landau_functional(GAS, finite.samples["K"], -draws.temperature * finite.log_prob)
    jax.tree.map(np.testing.assert_array_equal, landau_functional(GAS, saved), by_arrays)
    np.testing.assert_array_equal(
        pair_correlation(draws.samples["R"], GAS.space).g["up-up"],
        pair_correlation(saved, GAS.space).g["up-up"],
    )


def test_the_groups_of_draws_are_joined_and_tabulated(made):
    import arviz

    _, draws, history = made
    one, other = (to_arviz(x, history, system=GAS) for x in (draws, draws.take(np.arange(SAMPLES)[::-1])))
    if int(arviz.__version__.split(".")[0]) < 1:
        both = arviz.concat(one, other, dim="draw")
        table = one.to_dataframe()
    else:

        def join(a, b):
            return xarray.concat([a, b], dim="draw") if "draw" in a.dims else a

        both = xarray.map_over_datasets(join, one, other)
        table = one["sample_stats"].to_dataset().to_dataframe()
    assert len(table) == SAMPLES
    assert both["posterior"].sizes["draw"] == 2 * one["posterior"].sizes["draw"]
    assert both["constant_data"].sizes["step"] == len(history.free_energy)
    found = np.sort(as_draws(both).energy)
    np.testing.assert_array_equal(found, np.sort(np.concatenate([draws.energy, draws.energy])))


@pytest.mark.parametrize("other", [None, 3, {}, {"posterior": {}}, "/nowhere/draws.nc", np.zeros(3)])
def test_what_holds_no_draws_is_refused(other):
    with pytest.raises(ValueError, match=r"^Expected (Draws, what to_arviz|the path of a file) .*; got"):
        heat_capacity(other)
    with pytest.raises(ValueError, match=r"^Expected Draws, as `evaluate` gives them; got a"):
        to_arviz(other)
