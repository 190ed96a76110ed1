"""The error of S against what S scatters by where p(K) is fitted again and again."""

import numpy as np
import pytest
from wrong_levels import GAS, WRONG, draws, exact

from pnct import ElectronGas
from pnct.estimate import Estimate
from pnct.inference.closed_form.boltzmann_weights import shell_energy_shifts
from pnct.inference.observables.entropy_error import EntropyError, entropy_error

KNOWN = Estimate(1.0, 0.0, 1e9)
FIT_SAMPLES = 1000


def test_of_fits_to_noisy_energies():
    """120 fits: the spread of a standard deviation is 6.5 %, bounds at 4 sigma. The penalty of the fit takes
    part of its noise away.
    """
    S = [exact(shell_energy_shifts(GAS, draws(0 * WRONG, FIT_SAMPLES, 5.0, seed)))[1] for seed in range(120)]
    found = entropy_error(GAS, draws(0 * WRONG, 40_000, 5.0, 1000), KNOWN, FIT_SAMPLES)
    assert found.sample == found.drift == 0 and found.total == found.closed_form
    assert 0.6 < np.std(S) / found.closed_form < 1.25


def test_it_falls_with_the_samples_of_the_fit_and_not_with_those_that_show_it():
    some, more = draws(WRONG, 2000, 5.0), draws(WRONG, 32_000, 5.0, 1)
    few, many = (entropy_error(GAS, some, KNOWN, n).closed_form for n in (500, 50_000))
    assert few == pytest.approx(10 * many)
    assert entropy_error(GAS, more, KNOWN, 500).closed_form == pytest.approx(few, rel=0.1)


def test_a_drift_counts_as_far_as_it_is_more_than_its_noise():
    def error(value, noise):
        return entropy_error(GAS, draws(WRONG, 400, 1.0), KNOWN, 400, Estimate(value, noise, 10.0))

    assert error(0.03, 0.04).drift == error(0.0, 0.0).drift == 0
    assert error(-0.05, 0.03).drift == pytest.approx(0.04)
    assert EntropyError(0.3, 0.4, 1.2).total == pytest.approx(1.3)
    assert error(-0.05, 0.03)._replace(sample=0.0, closed_form=0.0).total == pytest.approx(0.04)


def test_what_it_needs_is_said():
    with pytest.raises(ValueError, match="Expected fit_samples to be a whole number >= 1; got 0"):
        entropy_error(GAS, draws(WRONG, 400, 1.0), KNOWN, 0)
    with pytest.raises(ValueError, match="Expected 40 finite samples or more"):
        entropy_error(GAS, draws(WRONG, 30, 1.0), KNOWN, 100)
    cold = draws(WRONG, 400, 1.0)._replace(temperature=0.0)
    with pytest.raises(ValueError, match="Expected draws at a temperature > 0"):
        entropy_error(ElectronGas((3, 0), 2, 1.0, 0.0), cold, KNOWN, 100)
