"""Each numerical fault, injected: what is not finite is left out, counted and named, and what is left is
right.
"""

import itertools
from types import SimpleNamespace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_program
from tiny_program import GAS, MadeUpEnergy, routine

from pnct.distributions import Born
from pnct.inference import NumericalWarning, TrainingFailedError
from pnct.inference.sampling.batch import Batching, draw_batch
from pnct.inference.sampling.metropolis_fallback import metropolis_if_not_exact
from pnct.inference.sampling.sites import read_sites
from pnct.inference.training import failures
from pnct.inference.training.step import MAX_BACKTRACKS
from pnct.space import Cell, OpenSpace, smallest_distance

KEY = jax.random.key(0)
WALKERS = tiny_program.WALKERS
SITES = SimpleNamespace(classical=("K",), measured="R")


class Breaks(MadeUpEnergy):
    """No number where the first electron stands in the left half of the cell."""

    edge: float = GAS.L / 2

    def __call__(self, born, values):
        energy = super().__call__(born, values)
        in_the_left_half = values.measured[0, 0] % GAS.L < self.edge
        return energy._replace(potential=jnp.where(in_the_left_half, jnp.nan, energy.potential))


LAYOUT = Batching(WALKERS, 1, None)  # chunks change no number


@pytest.fixture(scope="module")
def broken():
    return routine(hamiltonian=Breaks())


def redrawn(vfe, state):
    """The walkers of the step that starts from `state`, drawn once more."""
    sites = read_sites(vfe.model, state.params, (GAS,))

    def draw(params, key):
        return draw_batch(vfe.model, sites, vfe.hamiltonian, params, (GAS,), key, LAYOUT, True)

    return jax.device_get(jax.jit(draw)(state.params, jax.random.split(state.key)[1]))


def pair_distance(R):
    return min(
        np.linalg.norm(R[0] - R[1] + GAS.L * np.array(image))
        for image in itertools.product(range(-2, 3), repeat=GAS.dim)
    )


def test_a_walker_that_is_not_finite_is_left_out_counted_and_named(broken):
    state = broken.init(KEY, GAS)
    walkers = redrawn(broken, state)
    failed = np.flatnonzero(walkers.values["R"][:, 0, 0] % GAS.L < GAS.L / 2)
    kept = np.setdiff1d(np.arange(WALKERS), failed)
    assert 0 < failed.size < WALKERS

    _, info = broken.update(state, GAS)
    assert int(info.num_failed) == failed.size and bool(info.updated)
    assert int(info.num_not_inverted) == 0

    def mean(x):
        return np.average(x[kept], weights=walkers.weight[kept])

    assert float(info.energy) == pytest.approx(mean(walkers.potential), rel=1e-12)
    assert float(info.entropy) == pytest.approx(-mean(walkers.log_prob), rel=1e-12)
    assert int(info.failed_walker) == failed[0]
    np.testing.assert_array_equal(info.failed_label, walkers.values["K"][failed[0]])
    assert float(info.failed_closeness) == pytest.approx(
        pair_distance(walkers.values["R"][failed[0]]), rel=1e-9
    )

    messages = failures.describe_step(jax.device_get(info), failures.stages(SITES), WALKERS)
    K = walkers.values["K"][failed[0]].tolist()
    first = f"first walker {failed[0]} at the potential energy at site 'R', state {K}"
    closeness = f"closeness {float(info.failed_closeness):.3g} (smallest distance"
    assert messages.startswith(f"{failed.size} of {WALKERS} walkers left out, {first}, {closeness}")


def test_a_run_reports_its_first_faults_and_counts_the_rest(broken):
    with pytest.warns(NumericalWarning) as messages:
        result = broken.run(KEY, 8, GAS, progress_bar=False)
    messages = [str(warning.message) for warning in messages]
    assert np.all(result.history.num_failed > 0) and np.all(result.history.updated)
    assert len(messages) == failures.WARNED + 1
    assert messages[0].startswith("Step 1: ") and "the potential energy at site 'R'" in messages[0]
    assert messages[-1].startswith("3 more steps")


def test_an_evaluation_keeps_failed_samples_as_nan_and_names_the_first(broken):
    params = broken.init(KEY, GAS).params
    with pytest.warns(
        NumericalWarning, match="Evaluation: .* samples failed, first walker .* at the potential energy"
    ):
        draws = broken.evaluate(KEY, params, 2 * WALKERS, GAS)
    left = draws.samples["R"][:, 0, 0] % GAS.L < GAS.L / 2
    np.testing.assert_array_equal(np.isnan(draws.potential), left)


def leaping(gas):
    return tiny_program.model(gas, a=2.0)


def test_walkers_without_an_inverse_come_from_metropolis_counted_and_named():
    """zeta = r + 2 tanh(w) sin(kr)/k from w = 2 on: det J changes sign, and Newton's method gets stuck for
    some zeta.
    """
    vfe = routine(model=leaping)
    state = vfe.init(KEY, GAS)
    shift = eqx.tree_at(lambda shift: shift.w, state.params["shift"], jnp.full(2, 2.0))
    folded = state._replace(
        params=state.params | {"shift": shift}, backtracks_left=jnp.zeros_like(state.backtracks_left)
    )
    infos = []
    for _ in range(4):
        folded, info = vfe.update(folded, GAS)
        infos.append(jax.device_get(info))
    assert sum(info.num_negative_det for info in infos) > 0
    stuck = [info for info in infos if info.num_not_inverted]
    assert stuck
    assert not any(info.num_failed for info in infos)
    assert not any(info.backtracked for info in infos)  # it was folded from the start, not by an update
    messages = [failures.describe_step(info, failures.stages(SITES), WALKERS) for info in infos]
    assert "det J <= 0 for" in "; ".join(messages)
    first = messages[infos.index(stuck[0])]
    count, walker = int(stuck[0].num_not_inverted), int(stuck[0].failed_walker)
    assert first.startswith(
        f"{count} of {WALKERS} walkers drawn by Metropolis, first walker {walker} at site 'R' (no inverse"
    )

    with pytest.warns(
        NumericalWarning, match=r"samples drawn by Metropolis, first walker .* at site 'R' \(no inverse"
    ):
        draws = vfe.evaluate(KEY, folded.params, 2 * WALKERS, GAS)
    assert 0 < np.sum(draws.is_exact) < draws.is_exact.size
    log_det = draws.diagnostics["log_det_jacobian"]
    assert all(np.all(np.isfinite(x)) for x in (draws.samples["R"], draws.potential, log_det))


def test_metropolis_in_place_of_an_inverse_has_the_law_of_the_wave_function():
    """Means of 4000 walkers at 4 sigma beside exact samples, all started at one point where the density
    nearly vanishes.
    """
    born = Born(
        GAS.orbitals, jnp.array([0, 2]), tiny_program.Shift(jnp.array([1.0, -0.5]), 0.9, 2 * np.pi / GAS.L)
    )
    start = GAS.L * jnp.array([[0.5, 0.5], [0.5, 0.501]])

    def both(key):
        chain = metropolis_if_not_exact(key, born, start, jnp.zeros((), bool))
        drawn, is_exact = born.draw(key)
        kept = metropolis_if_not_exact(key, born, drawn, is_exact)
        d = chain[0] - chain[1], drawn[0] - drawn[1]

        def numbers(R, d):
            return jnp.cos(2 * np.pi / GAS.L * jnp.concatenate([R[0], R[1], d, 2 * d]))

        return numbers(chain, d[0]), numbers(drawn, d[1]), jnp.all(kept == drawn)

    found, expected, kept = jax.jit(jax.vmap(both))(jax.random.split(KEY, 4000))
    assert np.all(kept)
    error = np.sqrt((np.var(found, axis=0) + np.var(expected, axis=0)) / len(found))
    assert np.all(np.abs(np.mean(found, axis=0) - np.mean(expected, axis=0)) < 4 * error)
    assert np.any(np.abs(np.mean(expected, axis=0)) > 10 * error)  # there is something to see


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_where_the_flow_has_no_numbers_metropolis_finds_none(dtype):
    for w, finite in ((0.3, True), (np.nan, False)):
        born = Born(
            GAS.orbitals, jnp.array([0, 1]), tiny_program.Shift(jnp.full(2, w, dtype), 0.9, 2 * np.pi / GAS.L)
        )
        lost, _ = born.draw(KEY)

        @jax.jit
        def found(key, born=born, lost=lost):
            return metropolis_if_not_exact(key, born, lost, jnp.zeros((), bool))

        R = found(KEY)
        assert R.dtype == dtype and np.all(np.isfinite(R)) == finite


class Count(NamedTuple):
    count: jax.Array


def one_leap() -> optax.GradientTransformation:
    """First an update of all parameters by one, then none."""

    def update(updates, state, params=None):
        return jax.tree.map(lambda g: jnp.where(state.count == 0, jnp.ones_like(g), 0.0), updates), Count(
            state.count + 1
        )

    return optax.GradientTransformation(lambda params: Count(jnp.zeros((), jnp.int32)), update)


def test_an_update_that_folds_the_flow_is_halved_until_it_does_not():
    """zeta = r + 2 tanh(w) sin(kr)/k is one-to-one up to w = 0.55; w starts at 0.3 and leaps to 1.3."""
    vfe = routine(model=leaping, optim=one_leap())
    state, halved = vfe.init(KEY, GAS), 0
    for step in range(7):
        before = state
        state, info = vfe.update(before, GAS)
        assert bool(info.updated)
        if info.backtracked:
            halved += 1
            assert info.num_negative_det + info.num_not_inverted > 0
            assert "half of the last update was taken back" in failures.describe_step(
                jax.device_get(info), failures.stages(SITES), WALKERS
            )
            assert int(state.opt_state.count) == int(before.opt_state.count) == 1
            np.testing.assert_array_equal(state.params["levels"].logits, before.params["levels"].logits)
            np.testing.assert_allclose(
                state.params["shift"].w, before.params["shift"].w - 0.5**halved, rtol=1e-12
            )
        else:
            assert step == 0 or halved
    assert 1 <= halved <= MAX_BACKTRACKS
    assert (
        not info.backtracked
        and int(info.num_negative_det) == 0
        and int(state.backtracks_left) == MAX_BACKTRACKS
    )
    assert int(state.opt_state.count) == 7 - halved


def failing_from(step: int) -> optax.GradientTransformation:
    """Small steps along the gradient, and no numbers from the given step on."""

    def update(updates, state, params=None):
        bad = state.count >= step
        return jax.tree.map(lambda g: jnp.where(bad, jnp.nan, -0.01 * g), updates), Count(state.count + 1)

    return optax.GradientTransformation(lambda params: Count(jnp.zeros((), jnp.int32)), update)


def test_updates_that_are_not_finite_stop_the_run_with_the_last_good_state(tmp_path):
    vfe = routine(optim=failing_from(3))
    good = vfe.run(KEY, 3, GAS, progress_bar=False)
    last = 3 + failures.STEPS_IN_A_ROW
    with (
        pytest.warns(NumericalWarning, match="the update was not finite and not made"),
        pytest.raises(
            TrainingFailedError, match=f"The last 5 updates, up to step {last}, .* are kept in {tmp_path}"
        ) as stop,
    ):
        vfe.run(KEY, 50, GAS, progress_bar=False, checkpoint=tmp_path)
    assert stop.value.result.history.updated.tolist() == [True] * 3 + [False] * failures.STEPS_IN_A_ROW

    def same(a, b):
        return jax.tree.all(jax.tree.map(np.array_equal, a, b))

    assert same(stop.value.result.state.params, good.state.params)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(stop.value.result.params))

    assert stop.value.result.state.step == last
    kept = vfe.run(KEY, last, GAS, progress_bar=False, checkpoint=tmp_path)  # what the directory holds
    assert same(kept.state.params, good.state.params) and same(kept.history, stop.value.result.history)
    with (
        pytest.warns(NumericalWarning),
        pytest.raises(TrainingFailedError, match=f"The last 10 updates, up to step {last + 5}"),
    ):
        vfe.run(KEY, 50, GAS, progress_bar=False, checkpoint=tmp_path)


def test_a_skipped_update_does_not_count_once_one_is_made():
    infos = [SimpleNamespace(updated=made) for made in (False, False, True, False, False)]
    assert failures.skipped_in_a_row(infos) == 2
    assert failures.skipped_in_a_row(infos[:3]) == 0
    assert failures.skipped_in_a_row(infos[:2]) == 2
    assert failures.skipped_in_a_row([]) == 0


def test_the_first_stage_that_fails_is_the_one_that_is_named():
    """Walker i has nan in everything from stage i on; the last walker is finite."""
    sites = SimpleNamespace(classical=("X", "K"), measured="R")
    names = failures.stages(sites)
    B = len(names) + 1

    def column(stage, *shape):
        return np.where(np.arange(B).reshape(-1, *[1] * len(shape)) > stage, np.ones((B, *shape)), np.nan)

    walkers = SimpleNamespace(
        values={"X": column(0, 2), "K": column(1, 3), "R": column(3, 3, 2)},
        log_prob=column(2),
        kinetic=column(4) + 0j,
        potential=column(5),
        scores={"classical": {"w": column(6, 1, 4)}, "measured": {"v": column(6, 2)}},
    )
    np.testing.assert_array_equal(failures.first_failures(sites, walkers), [*range(B - 1), failures.FINITE])
    assert names[failures.inversion_stage(sites)] == "site 'R' (no inverse of the flow found)"
    assert (names[0], names[2], names[6]) == ("site 'X'", "ln p of 'X', 'K'", "the scores at site 'R'")


def test_distances_without_a_cell_and_without_a_pair():
    R = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    assert float(smallest_distance(R, OpenSpace((2, 0), 2))) == 5
    assert float(smallest_distance(R, Cell((2, 0), 2, 5.0))) == pytest.approx(5**0.5)
    assert float(smallest_distance(R[:1], OpenSpace((1, 0), 2))) == np.inf
