"""The driver: hooks in their order, what they may change, and what an early end leaves."""

import signal
from contextlib import contextmanager

import numpy as np
import pytest

from pnct.inference import Interrupted, TrainingFailedError
from pnct.inference.training.failures import STEPS_IN_A_ROW, given_up
from pnct.inference.training.loop import STOP, train
from pnct.inference.training.step import Info, TrainState

START = TrainState(*(0.0 for _ in TrainState._fields))
INFO = Info(*(np.float64(0.0) for _ in Info._fields))._replace(updated=np.True_)


def update(state):
    return state._replace(step=state.step + 1, average=state.average + 1), INFO._replace(energy=state.step)


@contextmanager
def hook(after_step, seen=None, name=""):
    if seen is not None:
        seen.append(f"{name} begins")
    try:
        yield after_step
    finally:
        if seen is not None:
            seen.append(f"{name} ends")


def test_hooks_are_entered_from_the_last_called_in_order_and_left_from_the_first():
    seen = []
    hooks = [hook(lambda *step, n=n: seen.append((n, step[0])), seen, n) for n in "ab"]
    result = train(update, START, 2, hooks)
    begun = ["b begins", "a begins"]
    assert seen == [*begun, ("a", 1), ("b", 1), ("a", 2), ("b", 2), "a ends", "b ends"]
    assert result.params == 2 and result.history.energy.tolist() == [0, 1]


def test_a_new_state_is_what_later_hooks_and_steps_see():
    seen = []
    hooks = [
        hook(lambda step, state, info: state._replace(step=10 * state.step)),
        hook(lambda step, state, info: seen.append(state.step)),
    ]
    assert train(update, START, 3, hooks).state.step == 1110 and seen == [10, 110, 1110]


def test_a_hook_that_asks_to_stop_ends_the_run_after_the_others_have_seen_the_step():
    seen = []
    hooks = [
        hook(lambda step, state, info: STOP if step == 2 else None),
        hook(lambda step, state, info: seen.append(step)),
    ]
    assert len(train(update, START, 9, hooks).history.energy) == 2 and seen == [1, 2]


def test_steps_made_before_count():
    before = [INFO._replace(energy=7.0)] * 2
    result = train(update, START, 3, (), before)
    assert result.history.energy.tolist() == [7, 7, 0]


def test_an_early_end_leaves_with_the_result_up_to_there():
    def interrupted(step, state, info):
        if step == 3:
            raise Interrupted(signal.SIGINT, "stopped")

    with pytest.raises(Interrupted) as stop:
        train(update, START, 9, [hook(interrupted)])
    assert stop.value.result.state.step == 3 and len(stop.value.result.history.energy) == 3


def test_it_gives_up_after_some_updates_in_a_row_that_were_not_made():
    def failing(state):
        state, info = update(state)
        return state, info._replace(updated=state.step == 4)

    last = 4 + STEPS_IN_A_ROW
    with pytest.raises(TrainingFailedError, match=f"The last 5 updates, up to step {last}") as stop:
        train(failing, START, 50, [given_up([], None)])
    assert len(stop.value.result.history.updated) == last


def test_updates_that_were_not_made_before_count():
    skipped = INFO._replace(updated=False)
    with pytest.raises(TrainingFailedError, match="up to step 5"):
        train(lambda state: (state, skipped), START, 50, [given_up([skipped] * 2, None)], [skipped] * 2)
