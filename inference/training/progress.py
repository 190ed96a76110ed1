"""What a run says while it trains: "compiling ...", then one line with F/N, E/N, S/N and the time left.

On a terminal the line is rewritten; elsewhere (a log file, a notebook) at most about twenty plain lines are
printed.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from pnct.estimate import Estimate

WINDOW = 20  # steps that a shown number is averaged over
PLAIN_LINES = 20
REFRESH = 0.1  # seconds between two updates on a terminal


def _no_label(step: int) -> str:
    return ""


@contextmanager
def progress(
    num_steps: int,
    enabled: bool,
    num_electrons: int,
    done: int = 0,
    unit: str = "hartree",
    stream=None,
    label: Callable[[int], str] = _no_label,
) -> Iterator[Callable]:
    """A hook: gives `report(step, state, info)`, to be called after each step, step = done + 1 ... num_steps.

    info: anything with the fields free_energy, free_energy_error, energy (in `unit`), entropy (k_B): totals
    of one step. The numbers are read (and so waited for) only when a line is due. stream: where to write, by
    default standard error.  label: of a step, what its line begins with.
    """
    if not enabled or num_steps < 1:
        yield _nothing
        return
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    bar = tqdm(total=num_steps, file=stream, bar_format="{desc}", disable=not terminal)

    def show(line):
        if terminal:
            bar.set_description_str(line)
        else:
            print(line, file=stream, flush=True)

    window = deque(maxlen=WINDOW)
    every = -(-num_steps // PLAIN_LINES)
    first = None
    shown = float("-inf")

    def report(done, state, info):
        nonlocal first, shown
        window.append(info)
        # The first step is the one that compiles, so the clock starts after it.
        now = time.monotonic()
        first = (done, now) if first is None else first
        if terminal:
            due = now - shown >= REFRESH
        else:
            due = done % every == 0 or first[0] == done
        if due or done == num_steps:
            shown = now
            left = _time_left(done, num_steps, first, now)
            show(label(done) + progress_line(done, num_steps, window, num_electrons, left, unit))

    try:
        begun = f"going on after step {done}/{num_steps}, " if done else ""
        show(f"{label(done + 1)}{begun}compiling ...")
        yield report
    finally:
        bar.close()


def progress_line(
    done: int, num_steps: int, window, num_electrons: int, seconds_left: float | None, unit: str = "hartree"
) -> str:
    """The line itself: means over the window, per electron, the free energy with its standard error."""

    def mean(name):
        return sum(float(getattr(info, name)) for info in window) / len(window) / num_electrons

    variance = sum(float(info.free_energy_error) ** 2 for info in window)
    F = Estimate(mean("free_energy"), variance**0.5 / len(window) / num_electrons, float(len(window)))
    left = "" if seconds_left is None else f"   {tqdm.format_interval(seconds_left)} left"
    return (
        f"step {done:>{len(str(num_steps))}}/{num_steps}   F/N {F} {unit}   "
        f"E/N {mean('energy'):.5f} {unit}   S/N {mean('entropy'):.4f} k_B{left}"
    )


def _time_left(done, num_steps, first, now):
    if done == num_steps:
        return 0.0
    if done == first[0]:
        return None
    return (now - first[1]) / (done - first[0]) * (num_steps - done)


def _nothing(step, state, info) -> None:
    return None
