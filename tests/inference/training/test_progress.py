"""One line that a physicist reads, and at most about twenty of them in a log file."""

import io
from typing import NamedTuple

import pytest

from pnct.inference.training.progress import progress, progress_line


class Info(NamedTuple):
    free_energy: float
    free_energy_error: float
    energy: float
    entropy: float


INFO = Info(free_energy=-1.2, free_energy_error=0.04, energy=-0.8, entropy=6.0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(stream, num_steps, enabled=True):
    with progress(num_steps, enabled, num_electrons=4, stream=stream) as report:
        for step in range(1, num_steps + 1):
            report(step, None, INFO)
    return stream.getvalue()


def test_quiet_when_asked(capsys):
    assert run(io.StringIO(), 10, enabled=False) == ""
    assert run(io.StringIO(), 0) == ""
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_line_is_per_electron_with_the_error_of_the_window():
    line = progress_line(7, 500, [INFO] * 4, 4, 83.0)
    assert (
        line == "step   7/500   F/N -0.3000(50) hartree   E/N -0.20000 hartree   S/N 1.5000 k_B   01:23 left"
    )
    assert "F/N -0.3000(50) hbar omega   E/N -0.20000 hbar omega" in progress_line(
        7, 500, [INFO] * 4, 4, 83.0, "hbar omega"
    )


def test_numbers_are_means_over_the_last_steps():
    stream = io.StringIO()
    with progress(60, True, 1, stream=stream) as report:
        for step in range(1, 61):
            report(step, None, INFO._replace(energy=float(step)))
    assert "E/N 50.50000" in stream.getvalue().splitlines()[-1]  # the mean of 41 ... 60


@pytest.mark.parametrize(("num_steps", "most"), [(1, 1), (3, 3), (20, 20), (1000, 21), (1009, 21)])
def test_plain_lines(num_steps, most):
    lines = run(io.StringIO(), num_steps).splitlines()
    assert lines[0] == "compiling ..."
    assert 1 <= len(lines) - 1 <= most
    assert lines[1].startswith(
        f"step {1:>{len(str(num_steps))}}/"
    )  # the first step says that compiling is over
    assert lines[-1].startswith(f"step {num_steps}/{num_steps}")


def test_terminal_rewrites_one_line():
    text = run(Terminal(), 500)
    assert "compiling ..." in text
    assert text.rstrip().split("\r")[-1].startswith("step 500/500")
    assert text.count("\n") <= 1


def test_standard_error_by_default(capsys):
    with progress(1, True, 4) as report:
        report(1, None, INFO)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "step 1/1" in captured.err


def test_nan_is_shown():
    assert "F/N nan(" in progress_line(1, 1, [INFO._replace(free_energy=float("nan"))], 4, None)


def test_numbers_are_read_only_when_a_line_is_due():
    class Counting:
        reads = 0

        def __getattr__(self, name):
            Counting.reads += 1
            return 1.0

    with progress(10_000, True, 1, stream=io.StringIO()) as report:
        for step in range(1, 500):
            report(step, None, Counting())
    assert Counting.reads <= 4  # the first line only


def test_closes_after_an_interrupt():
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt), progress(10, True, 4, stream=stream) as report:
        report(1, None, INFO)
        raise KeyboardInterrupt
    assert stream.getvalue().endswith("\n")


def test_a_label_begins_every_line():
    stream = io.StringIO()
    with progress(2, True, 4, stream=stream, label=lambda step: f"rs = 2   part {step}   ") as report:
        for step in (1, 2):
            report(step, None, INFO)
    begin = [line.split("   ")[:2] for line in stream.getvalue().splitlines()]
    assert begin == [["rs = 2", f"part {step}"] for step in (1, 1, 2)]
