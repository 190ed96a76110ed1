"""A run in a directory: whatever ends it, the same call goes on, and the numbers are those of one
uninterrupted run.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
import tiny_program
from tiny_program import GAS, digest, routine

from pnct import ElectronGas
from pnct.inference import Interrupted, natural_gradient
from pnct.inference.runs import fingerprint as description
from pnct.inference.runs.run_directory import LOG, log_line, stacked, unstacked
from pnct.inference.training import loop as training
from pnct.inference.training import step as training_step
from pnct.inference.training.loop import in_precision

KEY = jax.random.key(0)
STEPS = 20
PROGRAM = Path(tiny_program.__file__)


@pytest.fixture(scope="module")
def vfe():
    return routine()


@pytest.fixture(scope="module")
def whole(vfe, tmp_path_factory):
    """The uninterrupted run and its log."""
    directory = tmp_path_factory.mktemp("whole")
    result = vfe.run(KEY, STEPS, GAS, progress_bar=False, checkpoint=directory)
    return result, (directory / LOG).read_text()


def go_on(vfe, directory, steps=STEPS, **options):
    return vfe.run(KEY, steps, GAS, progress_bar=False, checkpoint=directory, **options)


def checkpoints(directory):
    return sorted(path.name for path in directory.iterdir() if path.name != LOG)


def test_a_directory_changes_no_number(vfe, whole):
    assert digest(vfe.run(KEY, STEPS, GAS, progress_bar=False)) == digest(whole[0])


def test_ten_and_ten_steps_are_twenty_bitwise(vfe, whole, tmp_path):
    half = go_on(vfe, tmp_path, 10)
    assert len(half.history.free_energy) == 10
    assert checkpoints(tmp_path)[-1] == "step-000000010.npz"
    assert digest(go_on(vfe, tmp_path)) == digest(whole[0])
    assert (tmp_path / LOG).read_text() == whole[1]
    assert len(checkpoints(tmp_path)) == 2 and checkpoints(tmp_path)[-1] == "step-000000020.npz"
    assert digest(go_on(vfe, tmp_path)) == digest(whole[0])  # nothing left to do


def test_the_log_says_what_the_history_says(whole):
    lines = [json.loads(line) for line in whole[1].splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    for name, column in whole[0].history._asdict().items():
        np.testing.assert_array_equal([line[name] for line in lines], column)


def test_the_log_is_cut_back_and_never_doubled(vfe, whole, tmp_path):
    go_on(vfe, tmp_path, 10)
    with open(tmp_path / LOG, "a") as file:
        file.write(whole[1].splitlines(keepends=True)[10] + '{"step": 12, "free_en')
    go_on(vfe, tmp_path)
    assert (tmp_path / LOG).read_text() == whole[1]


def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(vfe, whole, tmp_path):
    go_on(vfe, tmp_path, 10)
    last = tmp_path / "step-000000010.npz"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="step-000000010.npz is damaged"):
        assert digest(go_on(vfe, tmp_path)) == digest(whole[0])
    assert (tmp_path / LOG).read_text() == whole[1]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_saved_and_says_how_to_go_on(vfe, whole, tmp_path, signum):
    before = signal.getsignal(signum)

    def send(step, info):
        if step == 7:
            os.kill(os.getpid(), signum)

    with pytest.raises(
        Interrupted, match=f"Stopped by {signal.Signals(signum).name} after step 7 of 20.*same run again"
    ):
        go_on(vfe, tmp_path, callback=send)
    assert signal.getsignal(signum) == before
    assert checkpoints(tmp_path)[-1] == "step-000000007.npz"
    assert digest(go_on(vfe, tmp_path)) == digest(whole[0])


def test_ctrl_c_without_a_directory_gives_back_what_there_is(vfe, whole):
    def send(step, info):
        if step == 7:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match=r"by SIGINT after step 7 of 20; .* the attribute `result`") as stop:
        vfe.run(KEY, STEPS, GAS, progress_bar=False, callback=send)
    result = stop.value.result
    assert result.history.free_energy.tolist() == whole[0].history.free_energy[:7].tolist()
    rest = vfe.run(KEY, STEPS - 7, GAS, progress_bar=False, init_state=result.state)
    assert digest((rest.params, rest.state)) == digest(whole[0][:2])


def test_ctrl_c_while_compiling_ends_in_one_line(tmp_path):
    command = [sys.executable, PROGRAM, tmp_path, "20"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "compiling" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT and "Traceback" not in errors
    assert output.startswith(f"Stopped by SIGINT after step 0 of 20; all of it is kept in {tmp_path}.")
    assert checkpoints(tmp_path) == ["step-000000000.npz"]


def test_an_error_in_a_callback_loses_no_step(vfe, whole, tmp_path):
    seen = []

    def fail(step, info):
        seen.append((step, float(info.free_energy)))
        if step == 3:
            raise RuntimeError("disk of the plotter full")

    with pytest.raises(RuntimeError, match="plotter"):
        go_on(vfe, tmp_path, callback=fail)
    assert seen == [(i + 1, F) for i, F in enumerate(whole[0].history.free_energy[:3])]
    assert checkpoints(tmp_path)[-1] == "step-000000003.npz"
    assert digest(go_on(vfe, tmp_path)) == digest(whole[0])


def test_another_run_is_refused(vfe, tmp_path, monkeypatch):
    go_on(vfe, tmp_path, 2)
    denser = ElectronGas(GAS.num_electrons, GAS.dim, 1.0, GAS.theta, GAS.twist, GAS.cutoff)

    def refused(message):
        return pytest.raises(ValueError, match=message)

    with refused(r"differs in system\[0\].rs \(4.0 there, 1.0 here\)"):
        vfe.run(KEY, 4, denser, checkpoint=tmp_path)
    with refused(r"differs in key\[0\]"):
        vfe.run(jax.random.key(1), 4, GAS, checkpoint=tmp_path)
    with refused(r"precision\[0\] \('float64' there, 'float32' here\)"):
        go_on(vfe, tmp_path, init_state=in_precision(vfe.init(KEY, GAS), "float32"))
    with refused(r"num_walkers \(13 there, 14 here\)"):
        go_on(routine(num_walkers=14), tmp_path)
    with refused(r"hamiltonian.temperature \(0.5 there, 0.25 here\)"):
        go_on(routine(hamiltonian=tiny_program.MadeUpEnergy(0.25)), tmp_path)
    with refused(r"optim.damping \(None there, 0.001 here\)"):
        go_on(routine(optim=natural_gradient(damping=0.001)), tmp_path)
    with refused(r"optim.type \('NaturalGradientUpdate' there, absent here\)"):
        go_on(routine(optim=optax.adam(1e-3)), tmp_path)
    backtracks = r"constants.inference.training.step.MAX_BACKTRACKS \(4 there, 5 here\)"
    with refused(backtracks), monkeypatch.context() as other:
        other.setattr(training_step, "MAX_BACKTRACKS", 5)
        go_on(vfe, tmp_path)
    with refused(r"start.shift\[0\]"):
        start = vfe.init(KEY, GAS)
        go_on(vfe, tmp_path, init_state=start._replace(params=jax.tree.map(lambda x: x + 1, start.params)))
    with monkeypatch.context() as other:
        other.setattr(training.Info, "_fields", (*training.Info._fields[:-1], "made"))
        fields = r"history with the fields of this program; got .*step-000000002.npz"
        with refused(f"{fields}, which differs in made, updated"):
            go_on(vfe, tmp_path)
    with refused("Expected num_steps >= 2, the steps that .* holds; got 1"):
        go_on(vfe, tmp_path, 1)
    monkeypatch.setattr(description, "version", lambda name: "9.9")
    with refused(r"versions.pnct \('.*' there, '9.9' here\)"):
        go_on(vfe, tmp_path)


def test_a_log_without_a_checkpoint_is_not_overwritten(vfe, tmp_path):
    (tmp_path / LOG).write_text('{"step": 1}\n')
    with pytest.raises(ValueError, match=f"which has only {LOG}"):
        go_on(vfe, tmp_path)
    assert (tmp_path / LOG).read_text() == '{"step": 1}\n'


def test_numbers_that_json_does_not_know_are_null():
    info = {"a": np.float64(np.nan), "b": np.array([1.5, np.inf]), "c": np.bool_(True), "d": np.int32(3)}
    assert log_line(4, info) == '{"step": 4, "a": null, "b": [1.5, null], "c": true, "d": 3}\n'
    assert unstacked(stacked([{"x": 1.0, "k": np.arange(2)}] * 3))[2]["k"].tolist() == [0, 1]
    assert unstacked(stacked([])) == []


def killed_run(directory, steps, signals, cache, early=0.0, seed=0):
    """Runs the tiny program, ends it by each of `signals`, then lets it finish. Returns the exit codes and
    what it printed.

    A signal comes at a random moment after the first new step, or, with probability `early`, after the start
    of the process.
    """
    draw = random.Random(seed)
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, PROGRAM, directory, str(steps)]
    log, codes = directory / LOG, []

    def size_of_log():
        return log.stat().st_size if log.exists() else 0

    for signum in [*signals, None]:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        if signum is not None and draw.random() < early:
            time.sleep(draw.uniform(0, 5))
            process.send_signal(signum)
        elif signum is not None:
            before = size_of_log()
            while process.poll() is None and size_of_log() == before:
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.05))
            process.send_signal(signum)
        output, _ = process.communicate(timeout=300)
        codes.append(process.returncode)
        report(directory, codes[-1])
    return codes, output.strip()


def report(directory, code):
    lines = (directory / LOG).read_text().count("\n") if (directory / LOG).exists() else 0
    kept = max((int(path.stem.split("-")[1]) for path in directory.glob("step-*.npz")), default=0)
    print(f"exit code {code}: {lines} steps made, {kept} of them kept, {lines - kept} to be made again")


def test_runs_that_are_killed_end_with_the_same_numbers(vfe, tmp_path):
    signals = [signal.SIGTERM, signal.SIGKILL]
    codes, final = killed_run(tmp_path, 400, signals, tmp_path / "cache")
    assert codes == [128 + signal.SIGTERM, -signal.SIGKILL, 0]
    check_final(vfe, tmp_path, 400, final)


@pytest.mark.slow
def test_fifty_kills_lose_nothing(vfe, tmp_path):
    codes, final = killed_run(tmp_path, 4000, [signal.SIGKILL] * 50, tmp_path / "cache", early=0.25)
    assert codes == [-signal.SIGKILL] * 50 + [0]
    check_final(vfe, tmp_path, 4000, final)


def check_final(vfe, directory, steps, final):
    """The same numbers and the same log as those of a run that nobody ended."""
    once = vfe.run(KEY, steps, GAS, progress_bar=False, checkpoint=directory / "once")
    assert final == digest(once)
    assert (directory / LOG).read_text() == (directory / "once" / LOG).read_text()
