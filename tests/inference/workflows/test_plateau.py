"""Training to a plateau: judged by evaluations, the best parameters kept, resumed with the same numbers."""

import jax
import numpy as np
import optax
import pytest
from tiny_program import GAS, digest, routine

from pnct.inference import run_to_plateau
from pnct.inference.runs.run_directory import clear
from pnct.inference.workflows.plateau import is_plateau

KEY = jax.random.key(0)
SETTINGS = {"block": 4, "num_samples": 400, "patience": 2, "progress_bar": False}


@pytest.fixture(scope="module")
def vfe():
    return routine(optim=optax.sgd(0.05))


@pytest.fixture(scope="module")
def whole(vfe):
    return run_to_plateau(vfe, KEY, 30, GAS, **SETTINGS)


def rows(free_energies, entropies, error=0.1):
    return [
        {"free_energy": F, "free_energy_error": error, "entropy": S, "entropy_error": error}
        for F, S in zip(free_energies, entropies, strict=True)
    ]


@pytest.mark.parametrize(
    ("free_energies", "entropies", "expected"),
    [
        ([3.0, 2.0], [1.0, 1.0], False),  # too few
        ([3.0, 2.0, 1.0, 0.0], [1.0] * 4, False),  # still falling
        ([3.0, 1.0, 1.1, 0.9], [1.0] * 4, True),
        ([3.0, 1.0, 0.5, 1.0], [1.0] * 4, False),  # one of the last two lies lower
        ([3.0, 1.0, 1.1, 0.9], [2.0, 2.0, 1.6, 1.2], False),  # F stands still, S does not
    ],
)
def test_a_plateau_needs_both_f_and_s_to_stand_still(free_energies, entropies, expected):
    assert is_plateau(rows(free_energies, entropies), patience=2) is expected


def test_it_stops_early_and_keeps_the_parameters_with_the_lowest_evaluated_f(vfe, whole):
    E = whole.evaluations
    assert whole.reached and E.steps[-1] < 30
    assert len(whole.history.free_energy) == E.steps[-1] == int(whole.state.step)
    best = int(np.argmin(E.free_energy))
    again = vfe.run(KEY, int(E.steps[best]), GAS, progress_bar=False)
    assert digest(whole.params) == digest(again.params)
    draws = vfe.evaluate(jax.random.fold_in(KEY, int(E.steps[best])), whole.params, 400, GAS)
    F = draws.temperature * draws.log_prob + draws.potential
    assert E.free_energy[best] == pytest.approx(F.mean(), rel=1e-12)
    assert E.free_energy_error[best] == pytest.approx(F.std(ddof=1) / 20, rel=1e-12)


def test_it_ends_at_the_most_steps_allowed(vfe):
    seen = []
    result = run_to_plateau(vfe, KEY, 6, GAS, **SETTINGS, callback=lambda step, info: seen.append(step))
    assert not result.reached
    np.testing.assert_array_equal(result.evaluations.steps, [4, 6])
    assert seen == [1, 2, 3, 4, 5, 6]


def test_a_run_that_was_stopped_goes_on_with_the_same_numbers(vfe, whole, tmp_path):
    class Stop(Exception):
        pass

    def stop(step, info):
        if step == 6:
            raise Stop

    with pytest.raises(Stop):
        run_to_plateau(vfe, KEY, 30, GAS, **SETTINGS, checkpoint=tmp_path, callback=stop)
    assert digest(run_to_plateau(vfe, KEY, 30, GAS, **SETTINGS, checkpoint=tmp_path)[:-1]) == digest(
        whole[:-1]
    )
    assert digest(run_to_plateau(vfe, KEY, 30, GAS, **SETTINGS, checkpoint=tmp_path)[:-1]) == digest(
        whole[:-1]
    )  # nothing left to do


@pytest.mark.parametrize("fails", [1, 2])
def test_what_is_lost_with_an_evaluation_is_made_again(vfe, whole, tmp_path, monkeypatch, fails):
    calls = []
    evaluate = type(vfe).evaluate

    def stopped(self, *args):
        calls.append(args)
        if len(calls) == fails:
            raise KeyboardInterrupt
        return evaluate(self, *args)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(vfe), "evaluate", stopped)
        run_to_plateau(vfe, KEY, 30, GAS, **SETTINGS, checkpoint=tmp_path)
    again = run_to_plateau(vfe, KEY, 30, GAS, **SETTINGS, checkpoint=tmp_path)
    assert digest(again[:-1]) == digest(whole[:-1]) and again.reached == whole.reached


def test_one_directory_holds_evaluations_and_best_parameters(vfe, whole, tmp_path):
    run_to_plateau(vfe, KEY, 30, GAS, **SETTINGS, checkpoint=tmp_path)
    with np.load(max(tmp_path.glob("*.npz"))) as file:
        np.testing.assert_array_equal(file["memory/best/shift/w"], whole.params["shift"].w)
        np.testing.assert_array_equal(file["memory/evaluations/entropy"], whole.evaluations.entropy)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_more_steps_go_on_from_fewer(vfe, tmp_path):
    fewer = run_to_plateau(vfe, KEY, 6, GAS, **SETTINGS, checkpoint=tmp_path)
    more = run_to_plateau(vfe, KEY, 12, GAS, **SETTINGS, checkpoint=tmp_path)
    np.testing.assert_array_equal(more.evaluations.steps[:3], [4, 6, 12])
    np.testing.assert_array_equal(more.evaluations.free_energy[:2], fewer.evaluations.free_energy)


def test_another_block_is_another_run(vfe, tmp_path):
    run_to_plateau(vfe, KEY, 4, GAS, **SETTINGS, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"evaluation\.block"):
        run_to_plateau(vfe, KEY, 4, GAS, **SETTINGS | {"block": 2}, checkpoint=tmp_path)


def test_a_cleared_directory_starts_anew(vfe, tmp_path):
    run_to_plateau(vfe, KEY, 4, GAS, **SETTINGS, checkpoint=tmp_path)
    clear(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(run_to_plateau(vfe, KEY, 2, GAS, **SETTINGS, checkpoint=tmp_path).history.free_energy) == 2
