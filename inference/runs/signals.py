"""SIGTERM and Ctrl-C wait for the end of the step, so that it can be saved. A second one acts at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A run that a signal ended, after all was saved. `signum`: which signal."""

    def __init__(self, signum: int, message: str):
        super().__init__(message)
        self.signum = signum


@contextmanager
def deferred_signals() -> Iterator[Callable[[], int | None]]:
    """Gives a function that returns the signal that has come, or None. Outside the main thread no signal is
    caught.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    received = []

    def note(signum, frame):
        received.append(signum)
        restore()

    def restore():
        for signum, handler in before.items():
            signal.signal(signum, handler)

    try:
        for signum in SIGNALS:
            signal.signal(signum, note)
        yield lambda: received[0] if received else None
    finally:
        restore()
