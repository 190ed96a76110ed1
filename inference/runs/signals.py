"""SIGTERM and Ctrl-C wait for the end of the step, so that nothing is lost. A second one acts at once, and so
does one that comes before the first step is made, while it compiles.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A run that a signal ended. `signum`: which one.  `result`: the RunResult up to there."""

    def __init__(self, signum: int, message: str, result: Any = None):
        super().__init__(message)
        self.signum = signum
        self.result = result


@contextmanager
def stopped_by_signals(done: int, num_steps: int, directory: str | Path | None) -> Iterator[Callable]:
    """A hook that raises Interrupted after the step in which a signal came, unless it was the last.

    done: the steps made before this call.  Without a directory only Ctrl-C is waited for. Outside the main
    thread no signal is caught.
    """
    if threading.current_thread() is not threading.main_thread():
        yield _nothing
        return
    signals = SIGNALS[:1] if directory is None else SIGNALS
    before = {signum: signal.getsignal(signum) for signum in signals}
    received = []
    made = done

    def restore():
        for signum, handler in before.items():
            signal.signal(signum, handler)

    def note(signum, frame):
        received.append(signum)
        restore()
        if made == done:
            raise Interrupted(signum, farewell(signum, done, num_steps, directory))

    def after_step(step, state, info):
        nonlocal made
        made = step
        if received and step < num_steps:
            raise Interrupted(received[0], farewell(received[0], step, num_steps, directory))

    try:
        for signum in signals:
            signal.signal(signum, note)
        yield after_step
    finally:
        restore()


def farewell(signum: int, step: int, num_steps: int, directory: str | Path | None) -> str:
    """The sentence of Interrupted: what is kept, and how to go on."""
    stopped = f"Stopped by {signal.Signals(signum).name} after step {step} of {num_steps}"
    if directory is None:
        return f"{stopped}; the result up to there is the attribute `result` of this exception."
    return f"{stopped}; all of it is kept in {directory}. To go on, make the same run again."


def _nothing(step, state, info) -> None:
    return None
