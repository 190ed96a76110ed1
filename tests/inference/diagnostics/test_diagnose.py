"""to_arviz keeps every sample, in both generations of ArviZ; diagnose measures honestly and says what is
wrong.
"""

from typing import NamedTuple

import jax
import numpy as np
import pytest
from covered import assert_covered

from pnct import ElectronGas, HarmonicTrap, ideal_gas
from pnct.distributions import Occupation
from pnct.estimate import Estimate
from pnct.inference.diagnostics.arviz_export import largest_divisor, to_arviz, training_history
from pnct.inference.diagnostics.diagnose import chain_estimate, diagnose
from pnct.inference.diagnostics.pareto import tail_shapes
from pnct.inference.sampling.draws import Draws

N, DIM, TEMPERATURE = 5, 3, 0.25


def gaussian_draws(samples=4000, seed=0, dtype=float):
    """ln p ~ N(-8, 1), kinetic ~ N(3, 0.5) + i N(0, 0.5), potential ~ N(-2, 0.2)."""
    rng = np.random.default_rng(seed)

    def normal(mean, std):
        return rng.normal(mean, std, samples).astype(dtype)

    kinetic = normal(3, 0.5) + 1j * normal(0, 0.5)
    return Draws(
        samples={
            "nuclei": rng.normal(size=(samples, 2, DIM)).astype(dtype),
            "K": rng.integers(0, 9, (samples, N)).astype(np.int32),
            "R": rng.normal(size=(samples, N, DIM)).astype(dtype),
        },
        log_prob=normal(-8, 1),
        kinetic=kinetic,
        potential=normal(-2, 0.2),
        diagnostics={"log_det_jacobian": normal(0.5, 0.1), "det_sign": np.ones(samples, dtype)},
        temperature=TEMPERATURE,
        measured_site="R",
        state_site="K",
        dims=("electron", "axis"),
        is_exact=np.ones(samples, bool),
    )


class History(NamedTuple):
    free_energy: np.ndarray
    num_failed: np.ndarray
    updated: np.ndarray


HISTORY = History(np.linspace(0, -1, 30), np.zeros(30, int), np.ones(30, bool))
AT_REST = History(np.full(40, -1.0), np.zeros(40, int), np.ones(40, bool))


def test_groups_dims_and_contents():
    draws = gaussian_draws()
    idata = to_arviz(draws, HISTORY)
    posterior, stats = idata["posterior"], idata["sample_stats"]
    assert posterior["K"].dims == ("chain", "draw", "electron")
    assert posterior["R"].dims == ("chain", "draw", "electron", "axis")
    assert posterior["nuclei"].shape == (4, 1000, 2, DIM)
    assert posterior["K"].dtype == np.int32
    np.testing.assert_array_equal(posterior["R"].values.reshape(draws.samples["R"].shape), draws.samples["R"])
    energy = draws.kinetic + draws.potential
    for name, x in {
        "energy": energy.real,
        "energy_imag": energy.imag,
        "kinetic": draws.kinetic.real,
        "potential": draws.potential,
        "log_prob": draws.log_prob,
        "free_energy": TEMPERATURE * draws.log_prob + energy.real,
        **draws.diagnostics,
    }.items():
        np.testing.assert_allclose(stats[name].values.ravel(), x)
        assert stats[name].dims == ("chain", "draw")
    for name, x in training_history(idata).items():
        np.testing.assert_array_equal(x, getattr(HISTORY, name))
    assert idata["constant_data"]["training_num_failed"].dims == ("step",)
    assert not training_history(to_arviz(draws))
    assert idata.attrs["temperature"] == TEMPERATURE
    assert idata.attrs["num_electrons"] == N
    assert idata.attrs["measured_site"] == "R" and idata.attrs["state_site"] == "K"
    assert "jax_version" in idata.attrs


def test_a_system_names_orbitals_shells_and_spins(tmp_path):
    import arviz

    gas = ElectronGas((3, 2), 3, 2.0, 0.5, (0.1, 0.2, 0.3), cutoff=2.0)
    draws = gaussian_draws(400)
    draws.samples["K"][:] = np.random.default_rng(0).integers(0, len(gas.orbitals), (400, N))
    to_arviz(draws, system=gas).to_netcdf(str(tmp_path / "draws.nc"), engine="h5netcdf")
    idata = arviz.from_netcdf(str(tmp_path / "draws.nc"))
    posterior, table = idata["posterior"], idata["constant_data"]
    assert list(posterior["spin"].values) == ["up"] * 3 + ["down"] * 2 and list(
        posterior["axis"].values
    ) == list("xyz")
    assert posterior["K_by_shell"].dims == ("chain", "draw", "shell")
    shells = gas.shell_index[draws.samples["K"]]
    np.testing.assert_array_equal(
        posterior["K_by_shell"].values.reshape(400, -1)[:, 2], np.sum(shells == 2, axis=1)
    )
    assert table["wavevector"].dims == ("orbital", "axis") and list(table["twist"].values) == [0.1, 0.2, 0.3]
    np.testing.assert_array_equal(table["shell"].values, gas.shell_index)
    np.testing.assert_allclose(table["ideal_occupation"].sum("orbital"), [3, 2])
    np.testing.assert_allclose(
        table["orbital_energy"], (table["wavevector"] ** 2).sum("axis") / (2 * gas.rs**2)
    )
    summary = arviz.summary(idata, group="posterior", var_names=["K_by_shell"], coords={"shell": [0, 1]})
    assert list(summary.index) == ["K_by_shell[0]", "K_by_shell[1]"]

    trap = HarmonicTrap((3, 2), 1.0, 5.0)
    table = to_arviz(gaussian_draws(8), system=trap)["constant_data"]
    np.testing.assert_array_equal(table["shell"].values, trap.shell_index)
    assert "twist" not in table


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_file_and_back(tmp_path, dtype):
    import arviz

    idata = to_arviz(gaussian_draws(400, dtype=dtype), HISTORY._asdict())
    idata.to_netcdf(str(tmp_path / "draws.nc"), engine="h5netcdf")
    back = arviz.from_netcdf(str(tmp_path / "draws.nc"))
    for group in ("posterior", "sample_stats", "constant_data"):
        for name in idata[group].data_vars:
            np.testing.assert_array_equal(back[group][name].values, idata[group][name].values)
            assert back[group][name].dims == idata[group][name].dims
    assert back["posterior"]["R"].dtype == dtype
    assert back.attrs["measured_site"] == "R"
    assert diagnose(back) == diagnose(idata)


@pytest.mark.parametrize(("samples", "chains"), [(8, 4), (9, 3), (10, 2), (7, 1), (1, 1)])
def test_no_sample_is_lost(samples, chains):
    assert largest_divisor(samples, 4) == chains
    draws = gaussian_draws(samples)
    stats = to_arviz(draws)["sample_stats"]
    assert stats.sizes["chain"] == chains
    np.testing.assert_array_equal(stats["potential"].values.ravel(), draws.potential)


def test_arviz_summarises_it():
    import arviz

    summary = arviz.summary(
        to_arviz(gaussian_draws(400)), group="sample_stats", var_names=["energy", "free_energy"]
    )
    assert list(summary.index) == ["energy", "free_energy"]


def test_sound_draws():
    report = diagnose(to_arviz(gaussian_draws(), AT_REST))
    exact = {
        "free_energy": (-8 * TEMPERATURE + 1, np.sqrt(TEMPERATURE**2 + 0.29)),
        "energy": (1.0, np.sqrt(0.29)),
        "kinetic": (3.0, 0.5),
        "potential": (-2.0, 0.2),
        "entropy": (8.0, 1.0),
    }
    for name, (mean, std) in exact.items():
        estimate = getattr(report, name)
        assert abs(estimate.value - mean / N) < 5 * std / N / np.sqrt(4000)
        assert estimate.error == pytest.approx(std / N / np.sqrt(4000), rel=0.3)
    assert report.converged
    assert report.num_failed == report.num_negative_det == 0
    assert report.max_rhat is None and report.min_ess == 4000
    assert report.heaviest_tail < 0.3
    assert report.smallest_log_det == pytest.approx(0.5 - 0.35, abs=0.1)
    assert report.verdict.startswith("Converged: all 4000 samples")


def test_table_names_the_units():
    text = str(diagnose(to_arviz(gaussian_draws(), AT_REST)))
    assert str(diagnose(to_arviz(gaussian_draws(), AT_REST)).free_energy) in text
    assert text.count("hartree per electron") == 4
    assert text.count("k_B per electron") == 1
    in_trap = str(diagnose(to_arviz(gaussian_draws()._replace(unit="hbar omega"))))
    assert in_trap.count("hbar omega per electron") == 4 and "hartree" not in in_trap
    assert text.splitlines()[-1].startswith("Converged")


def test_free_energy_identity():
    report = diagnose(to_arviz(gaussian_draws(), AT_REST))
    assert report.free_energy.value == pytest.approx(report.energy.value - TEMPERATURE * report.entropy.value)
    assert report.energy.value == pytest.approx(report.kinetic.value + report.potential.value)


def test_conditioned_K_has_no_entropy():
    draws = gaussian_draws()._replace(log_prob=np.zeros(4000), temperature=0.0)
    report = diagnose(to_arviz(draws, AT_REST))
    assert (report.entropy.value, report.entropy.error) == (0.0, 0.0)
    assert str(report.entropy) == "0.000000(0)"
    assert report.free_energy == report.energy
    assert report.converged


def test_constant_energies():
    constant = np.full(4000, 0.1)
    draws = gaussian_draws()._replace(log_prob=0 * constant, kinetic=constant + 0j, potential=0 * constant)
    report = diagnose(to_arviz(draws, AT_REST))
    assert (report.energy.value, report.energy.error) == (pytest.approx(0.1 / N), 0.0)
    assert report.converged
    assert diagnose(to_arviz(draws, num_chains=4)).max_rhat == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_is_no_tail(dtype):
    rng = np.random.default_rng(0)
    noise = 1 + 10 * np.finfo(dtype).eps * rng.standard_t(1, 4000).clip(-100, 100)
    draws = gaussian_draws(dtype=dtype)._replace(
        kinetic=(3 * noise + 1j * (noise - 1 + 1e-8 * (dtype == np.float32))).astype(
            np.result_type(dtype, 1j)
        ),
        potential=np.zeros(4000, dtype),
        log_prob=np.full(4000, -8, dtype),
    )
    report = diagnose(to_arviz(draws, AT_REST))
    assert np.isnan(report.heaviest_tail)
    assert report.converged


def test_correlated_chains_have_larger_errors():
    """AR(1) with coefficient 0.9: ESS = S (1 - 0.9)/(1 + 0.9)."""
    rng = np.random.default_rng(0)
    x = np.zeros((4, 20_000))
    noise = rng.normal(size=x.shape)
    for t in range(1, x.shape[1]):
        x[:, t] = 0.9 * x[:, t - 1] + noise[:, t]
    draws = gaussian_draws(x.size)._replace(potential=x.ravel())
    report = diagnose(to_arviz(draws, num_chains=4))
    assert report.potential.ess == pytest.approx(x.size / 19, rel=0.15)
    assert report.potential.error * N == pytest.approx(x.std() / np.sqrt(x.size / 19), rel=0.1)
    assert report.kinetic.ess > 10 * report.potential.ess


def spoil(num_chains=None, **changes):
    draws = gaussian_draws()
    for name, (where, value) in changes.items():
        of_flow = name in draws.diagnostics
        x = np.array(draws.diagnostics[name] if of_flow else getattr(draws, name))
        x[where] = value
        draws = draws._replace(**{"diagnostics": draws.diagnostics | {name: x}} if of_flow else {name: x})
    return diagnose(to_arviz(draws, AT_REST, num_chains))


def test_failures_are_counted_and_left_out():
    report = spoil(kinetic=([3, 1500, 1501], np.nan))
    assert report.num_failed == 3
    assert not report.converged
    assert "3 of 4000 samples failed" in report.verdict
    assert abs(report.energy.value - 1 / N) < 5 * np.sqrt(0.29) / N / np.sqrt(4000)
    assert report.min_ess == 3997


def test_a_failed_chain_and_nothing_but_failures():
    assert "1000 of 4000" in spoil(kinetic=(slice(0, 1000), np.nan)).verdict
    assert spoil(kinetic=(slice(0, 1000), np.inf)).num_failed == 1000
    report = spoil(potential=(slice(None), np.nan))
    assert report.num_failed == 4000
    assert not report.converged
    assert "all 4000 samples failed" in report.verdict
    assert "nan" in str(report)


def test_folds():
    report = spoil(det_sign=([7, 9], -1.0))
    assert report.num_negative_det == 2
    assert "det J <= 0 in 2 of 4000 samples" in report.verdict
    assert spoil(det_sign=(7, 0.0)).num_negative_det == 1


def test_samples_from_metropolis_are_counted_and_tolerated_up_to_a_share_of_the_error():
    """sqrt(4000)/10 = 6.3."""
    draws = gaussian_draws()
    few, many = (
        diagnose(to_arviz(draws._replace(is_exact=np.arange(4000) >= count), AT_REST)) for count in (6, 7)
    )
    assert few.converged and few.num_metropolis == 6 and "from Metropolis: 6" in str(few)
    assert not many.converged and "7 of 4000 samples had no inverse" in many.verdict
    assert many.energy == diagnose(to_arviz(draws, AT_REST)).energy


def test_walkers_of_the_training_without_an_inverse_are_noted():
    history = AT_REST._asdict() | {
        "num_not_inverted": np.resize([0, 2], 40) * (np.arange(40) < 4),
        "backtracked": np.arange(40) < 2,
    }
    report = diagnose(to_arviz(gaussian_draws(), history))
    assert (
        report.converged
        and "in training 4 walkers had no inverse and came from Metropolis, 2 updates" in report.verdict
    )


def test_det_near_zero():
    report = spoil(log_det_jacobian=(9, -7.0))
    assert report.converged and "det J comes near 0 (smallest ln det J -7.0, median 0.5)" in report.verdict
    assert "near 0" not in spoil(log_det_jacobian=(9, -5.0)).verdict


@pytest.mark.parametrize(
    ("name", "said"), [("entropy", "S/N still falls, by 1.0"), ("free_energy", "F/N still falls, by 1.0")]
)
def test_drift(name, said):
    """100 steps of noise 0.1 per electron; then a slope of -0.04 a step, which is -1 from one quarter to the
    next.
    """
    rng = np.random.default_rng(0)
    history = {"free_energy": rng.normal(-N, 0.1 * N, 100), "entropy": rng.normal(8 * N, 0.1 * N, 100)}
    still = diagnose(to_arviz(gaussian_draws(), history))
    assert still.converged and abs(still.drifts[name].value) < 3 * still.drifts[name].error < 0.1
    history[name] = history[name] - 0.04 * N * np.arange(100)
    report = diagnose(to_arviz(gaussian_draws(), history))
    assert not report.converged and report.verdict.startswith(
        "Valid samples of a state that is not converged"
    )
    assert said in report.verdict
    assert report.drifts[name].value == pytest.approx(-1, abs=5 * report.drifts[name].error)
    assert diagnose(to_arviz(gaussian_draws(), {name: history[name][:30]})).drifts == {}


def test_a_short_or_unknown_training_is_not_called_converged():
    flat = {name: np.zeros(40) for name in ("free_energy", "entropy")}
    for history, said in (
        (None, "is unknown"),
        ({k: x[:39] for k, x in flat.items()}, "39 steps is too short"),
    ):
        report = diagnose(to_arviz(gaussian_draws(), history))
        assert report.converged is None and said in report.verdict
        assert report.verdict.startswith("Valid samples") and "onverged:" not in report.verdict
    assert diagnose(to_arviz(gaussian_draws(), flat)).converged is True
    assert diagnose(to_arviz(gaussian_draws(100))).converged is False


def test_free_energy_below_the_exact_one():
    """By chance within 3 standard errors, by a bug beyond; the error of the exact value counts."""
    found = diagnose(to_arviz(gaussian_draws(), AT_REST)).free_energy
    above = diagnose(to_arviz(gaussian_draws(), AT_REST), found.value - found.error)
    assert above.converged and "exact" not in above.verdict and above.below_exact == pytest.approx(-1)
    chance = diagnose(to_arviz(gaussian_draws(), AT_REST), found.value + 2 * found.error)
    assert (
        chance.converged
        and "2.0 standard errors below the exact" in chance.verdict
        and "by chance (2% of" in chance.verdict
    )
    bug = diagnose(to_arviz(gaussian_draws(), AT_REST), found.value + 4 * found.error)
    assert (
        not bug.converged
        and "an upper bound cannot be" in bug.verdict
        and bug.below_exact == pytest.approx(4)
    )
    idata = to_arviz(gaussian_draws(), AT_REST)
    uncertain = diagnose(idata, Estimate(found.value + 4 * found.error, 4 * found.error, np.inf))
    assert uncertain.converged and uncertain.below_exact == pytest.approx(4 / np.sqrt(17))
    assert diagnose(to_arviz(gaussian_draws(), AT_REST)).below_exact is None


def test_errors_cover_the_truth_at_the_stated_rate():
    """200 repeats of 500 draws of the ideal gas: 68 % and 95 % of the intervals hold E, to 3
    binomial sigma.
    """
    gas = ElectronGas((3, 0), 2, 2.0, 0.5, 0.25)
    program = Occupation(gas)
    K = np.asarray(
        jax.jit(lambda key: program.sample(seed=key, sample_shape=(200 * 500,)))(jax.random.key(0))
    )
    energy = np.sum(
        np.asarray(gas.orbital_energies)[K], axis=1
    )  # of entropy alike, for F is one number for all K
    found = [chain_estimate(part)[0] for part in energy.reshape(200, 4, 125)]
    assert_covered({"E": [(e.value - ideal_gas(gas).energy) / e.error for e in found]})


def test_chains_that_disagree():
    report = spoil(num_chains=4, potential=(slice(0, 1000), -3.0))
    assert report.max_rhat > 1.01
    assert "R-hat" in report.verdict and "R-hat" in str(report)


def test_independent_samples_have_no_chains_that_could_disagree():
    """R-hat of 400 of them is over 1.01 in one run of three; there is none, and each counts in full."""
    for seed in range(10):
        report = diagnose(to_arviz(gaussian_draws(400, seed)))
        assert report.max_rhat is None and report.min_ess == 400
        assert "R-hat" not in str(report) and "draw more" not in report.verdict
    rhats = [chain_estimate(np.random.default_rng(seed).normal(size=(4, 100)))[1] for seed in range(10)]
    assert max(rhats) > 1.01
    some = diagnose(to_arviz(gaussian_draws()._replace(is_exact=np.arange(4000) >= 5)))
    assert some.max_rhat is None and some.min_ess == 4000 and some.num_metropolis == 5


def test_heavy_tail():
    """The sentence names the side, the outermost energy, and whether it comes with a small det J."""
    tail = np.random.default_rng(0).pareto(1.0, 4000)
    report = spoil(potential=(slice(None), tail))
    assert "heavy tail" in report.verdict and "towards high energies" in report.verdict
    outermost = (gaussian_draws().kinetic.real + tail)[np.argmax(tail)] / N
    assert f"to E_loc/N = {outermost:.3g}, where det J is as elsewhere" in report.verdict
    folding = spoil(potential=(slice(None), -tail), log_det_jacobian=(slice(None), -np.log(1 + tail)))
    assert "towards low energies" in folding.verdict and "the flow nearly folds there" in folding.verdict


def test_imaginary_energy():
    """E[Im E_loc] = 0 holds only for samples of |Psi|^2."""
    draws = gaussian_draws()
    report = diagnose(to_arviz(draws._replace(kinetic=draws.kinetic + 0.1j)))
    assert "Im E_loc" in report.verdict


def test_too_few_samples():
    report = diagnose(to_arviz(gaussian_draws(100)))
    assert not report.converged
    assert "draw more samples" in report.verdict
    for samples in (1, 2, 3, 13, 17):
        assert not diagnose(to_arviz(gaussian_draws(samples))).converged


@pytest.mark.parametrize("k", [0.2, 0.5, 1.0])
def test_tail_index_of_pareto_samples(k):
    x = np.random.default_rng(0).pareto(1 / k, 200_000)
    assert tail_shapes(x)[1] == pytest.approx(k, abs=0.1)
    assert tail_shapes(-x)[0] == pytest.approx(k, abs=0.1)


def thermal_draws(samples=4000, p_error=0.0, noise=1e-8, seed=0):
    """One state per level, E_K = 0.3 K, at T = 1: local energies with little noise, which T ln p makes up to
    within p_error.
    """
    rng = np.random.default_rng(seed)
    levels = 0.3 * np.arange(100)
    log_p = -levels - np.log(np.sum(np.exp(-levels))) + p_error * rng.normal(size=100)
    log_p -= np.log(np.sum(np.exp(log_p)))
    K = rng.choice(100, samples, p=np.exp(log_p))
    return gaussian_draws(samples)._replace(
        samples={"K": K[:, None], "R": rng.normal(size=(samples, 1, DIM))},
        log_prob=log_p[K],
        kinetic=100 + levels[K] + noise * rng.normal(size=samples) + 0j,
        potential=np.zeros(samples),
        temperature=1.0,
    )


@pytest.mark.parametrize("p_error", [0.0, 1e-3, 0.1])
@pytest.mark.parametrize("noise", [1e-11, 1e-6, 1e-3, 0.03])
def test_a_thermal_mixture_has_no_heavy_tail(p_error, noise):
    """E_loc of one energy per state with little noise is nearly discrete, whatever its tail looks like."""
    for samples in (512, 4000, 16_384):
        draws = thermal_draws(samples, p_error, noise)
        report = diagnose(to_arviz(draws, AT_REST))
        assert report.converged, report.verdict
        assert not report.heaviest_tail > 0.7
    if noise == 1e-11 and not p_error:
        assert np.isnan(report.heaviest_tail)


@pytest.mark.parametrize(("k", "samples"), [(1.2, 512), (1.0, 4000), (0.9, 16_384)])
def test_noise_with_a_heavy_tail_is_found_in_a_thermal_mixture(k, samples):
    """Of ten seeds in eight or more; a tenth of the samples with it are enough."""
    found = {"all": 0, "some": 0}
    for seed in range(10):
        draws = thermal_draws(samples, 1e-3, 1e-3, seed)
        rng = np.random.default_rng(100 + seed)
        heavy = 0.01 * rng.pareto(1 / k, samples)
        for name, noise in (("all", heavy), ("some", heavy * (rng.random(samples) < 0.1))):
            report = diagnose(to_arviz(draws._replace(potential=noise), AT_REST))
            found[name] += "heavy tail" in report.verdict and "towards high energies" in report.verdict
    assert min(found.values()) >= 8, found


def test_a_heavy_tail_within_the_states_is_found_where_p_is_far_off():
    """T ln p + E_loc varies from state to state by more than the noise, which alone has the tail."""
    draws = thermal_draws(p_error=2.0)
    draws = draws._replace(potential=1e-4 * np.random.default_rng(5).pareto(1.0, 4000))
    report = diagnose(to_arviz(draws, AT_REST))
    assert "the local energy of given states has a heavy tail" in report.verdict


def test_tail_of_discrete_energies_cannot_be_seen():
    assert np.all(np.isnan(tail_shapes(np.random.default_rng(0).integers(0, 3, 1000).astype(float))))


def test_one_long_chain():
    x = np.random.default_rng(0).normal(size=(1, 4001))
    estimate, rhat = chain_estimate(x)
    assert rhat < 1.01
    assert estimate.ess == pytest.approx(4001, rel=0.2)


def test_expected_got():
    draws = gaussian_draws(8)
    with pytest.raises(ValueError, match="Expected measured_site among the sites"):
        to_arviz(draws._replace(measured_site="electrons"))
    with pytest.raises(ValueError, match="Expected draws with one number of samples"):
        to_arviz(draws._replace(potential=np.zeros(7)))
    with pytest.raises(ValueError, match="Expected num_chains >= 1; got 0"):
        to_arviz(draws, num_chains=0)
    with pytest.raises(ValueError, match="Expected history fields with the step as first axis"):
        to_arviz(draws, {"loss": 1.0})


def test_files_of_an_older_version_are_refused_with_what_they_lack():
    idata = to_arviz(gaussian_draws())
    del idata["sample_stats"].attrs["independent_samples"]
    with pytest.raises(ValueError, match="got data without independent_samples, as an older one wrote"):
        diagnose(idata)
