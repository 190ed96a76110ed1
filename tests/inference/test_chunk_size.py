"""How many walkers are alive at once changes no number: training, evaluation, ArviZ export, observables and excitations."""

import jax
import numpy as np
import pytest
from tiny_program import GAS, WALKERS, model, routine

from pnct.inference import observables, to_arviz
from pnct.inference.excitations import excitation_energies
from pnct.inference.momentum import momentum_distribution

KEY = jax.random.key(0)
SAMPLES = 2 * WALKERS


def training(vfe):
    result = vfe.run(KEY, 3, GAS, progress_bar=False)
    return result.params, result.history


def evaluation(vfe):
    draws = vfe.evaluate(KEY, vfe.init(KEY, GAS).params, SAMPLES, GAS)
    return draws._replace(born_site=None)


def export(vfe):
    params = vfe.init(KEY, GAS).params
    idata = to_arviz(vfe.evaluate(KEY, params, SAMPLES, GAS), system=GAS)
    return {f"{group}.{name}": idata[group][name].values for group in ("posterior", "sample_stats") for name in idata[group]}


def structure(vfe):
    samples = vfe.evaluate(KEY, vfe.init(KEY, GAS).params, SAMPLES, GAS).samples
    q = 2 * np.pi / GAS.L * np.array([[0, 1], [1, 1]])
    g, S = observables.pair_correlation(samples["R"], GAS.cell, 5), observables.structure_factor(samples["R"], GAS.cell, q)
    return g, S, observables.occupations(samples["K"], len(GAS.orbitals))


def momenta(vfe):
    params = vfe.init(KEY, GAS).params
    draws = vfe.evaluate(KEY, params, SAMPLES, GAS)
    return momentum_distribution(KEY, model, params, draws, GAS, chunk_size=vfe.chunk_size)


def excitations(vfe):
    states = np.array([GAS.ground_state, [0, 2]])
    return excitation_energies(KEY, vfe, vfe.init(KEY, GAS).params, states, SAMPLES, GAS)


@pytest.mark.parametrize("numbers", [training, evaluation, export, structure, momenta, excitations])
def test_the_chunk_size_changes_no_number(numbers, monkeypatch):
    whole = numbers(routine(chunk_size=WALKERS))
    monkeypatch.setattr(observables, "CHUNK_NUMBERS", 60)
    for chunk_size in (1, 5):
        parts = numbers(routine(chunk_size=chunk_size))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), whole, parts)
