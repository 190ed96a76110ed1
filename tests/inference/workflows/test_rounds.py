"""Rounds: one run whose state is replaced after some steps; whatever ends it, the numbers are the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_program import GAS, digest, routine

from pnct.inference.workflows import rounds
from pnct.inference.workflows.rounds import run_in_rounds

KEY = jax.random.key(0)
SETTINGS = {"rounds": 3, "num_samples": 64, "progress_bar": False}


def halved(vfe, key, params, num_samples, system):
    """In place of the steps in closed form, which the tiny program has no use for."""
    shift = 0.1 * jax.random.normal(key)
    return jax.tree.map(lambda x: 0.5 * x + shift, params)


@pytest.fixture(scope="module")
def vfe():
    return routine()


@pytest.fixture
def steps_in_closed_form(monkeypatch):
    monkeypatch.setattr(rounds, "closed_form_step", halved)


def by_hand(vfe, num_steps):
    state = vfe.init(KEY, GAS)
    for i, steps in enumerate(np.diff(num_steps * np.arange(4) // 3)):
        result = vfe.run(KEY, int(steps), GAS, init_state=state, progress_bar=False)
        params = halved(vfe, jax.random.fold_in(KEY, i), result.params, None, None)
        state = result.state._replace(params=params, average=params)
    return state


@pytest.mark.parametrize("num_steps", [0, 2, 7])
def test_rounds_are_runs_with_a_step_in_closed_form_after_each(vfe, steps_in_closed_form, num_steps):
    result = run_in_rounds(vfe, KEY, num_steps, GAS, **SETTINGS)
    assert digest(result.state) == digest(by_hand(vfe, num_steps))
    assert digest(result.params) == digest(result.state.params)
    assert len(result.history.free_energy) == num_steps


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_what_is_lost_with_a_step_in_closed_form_is_made_again(
    vfe, steps_in_closed_form, tmp_path, monkeypatch, fails
):
    whole = run_in_rounds(vfe, KEY, 7, GAS, **SETTINGS)
    calls = []

    def stopped(*args):
        calls.append(args)
        if len(calls) == fails + 1:
            raise KeyboardInterrupt
        return halved(*args)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(rounds, "closed_form_step", stopped)
        run_in_rounds(vfe, KEY, 7, GAS, **SETTINGS, checkpoint=tmp_path)
    assert digest(run_in_rounds(vfe, KEY, 7, GAS, **SETTINGS, checkpoint=tmp_path)) == digest(whole)
    assert digest(run_in_rounds(vfe, KEY, 7, GAS, **SETTINGS, checkpoint=tmp_path)) == digest(whole)
    assert len((tmp_path / "steps.jsonl").read_text().splitlines()) == 7


def test_other_rounds_are_another_run(vfe, steps_in_closed_form, tmp_path):
    run_in_rounds(vfe, KEY, 2, GAS, **SETTINGS, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"rounds\.ends\[0\] \(0 there, 1 here\)"):
        run_in_rounds(vfe, KEY, 3, GAS, **SETTINGS, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"rounds\.num_samples \(64 there, 65 here\)"):
        run_in_rounds(vfe, KEY, 2, GAS, **SETTINGS | {"num_samples": 65}, checkpoint=tmp_path)
    start = vfe.init(KEY, GAS)
    other = start._replace(params=jax.tree.map(jnp.ones_like, start.params))
    with pytest.raises(ValueError, match=r"start\."):
        run_in_rounds(vfe, KEY, 2, GAS, **SETTINGS, checkpoint=tmp_path, init_state=other)
