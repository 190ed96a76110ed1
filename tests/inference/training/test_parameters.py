"""Trained parameters in a file: back as the modules of their model, in another process too."""

import doctest
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_program
from tiny_program import GAS, digest, model, routine

import pnct
import pnct.distributions as dist
from pnct import ElectronGas
from pnct.inference import load, save
from pnct.inference.runs.archive import DamagedError, write_archive
from pnct.inference.training import parameters
from pnct.inference.training.loop import in_precision

KEY = jax.random.key(0)
PROGRAM = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
from tiny_program import GAS, digest, model
from pnct.inference import load
print(digest(load(sys.argv[1], model, GAS)))
"""


@pytest.fixture(scope="module")
def params():
    return routine().init(KEY, GAS).params


def gas(**changes):
    settings = {"rs": 4.0, "theta": 0.6, "twist": 0.1, "cutoff": 1.3} | changes
    return ElectronGas((2, 0), 2, **settings)


def test_another_process_finds_the_same_modules(params, tmp_path):
    path = tmp_path / "gas.npz"
    save(path, params)
    command = [sys.executable, "-c", PROGRAM, path]
    folder = Path(tiny_program.__file__).parent
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == digest(params), found.stderr
    loaded = load(path, model, GAS)
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    assert [path.name] == [p.name for p in tmp_path.iterdir()]


def test_a_result_is_saved_by_its_averaged_parameters(tmp_path):
    vfe = routine()
    result = vfe.run(KEY, 2, GAS, progress_bar=False)
    result = result._replace(params=jax.tree.map(lambda x: 0.9 * x, result.params))
    save(tmp_path / "gas.npz", result)
    loaded = load(tmp_path / "gas.npz", model, GAS)
    assert digest(loaded) == digest(result.params) != digest(result.state.params)
    assert digest(vfe.evaluate(KEY, loaded, 20, GAS).samples) == digest(
        vfe.evaluate(KEY, result.params, 20, GAS).samples
    )


def test_numpy_shows_them_by_name(params, tmp_path):
    save(tmp_path / "gas.npz", params)
    with np.load(tmp_path / "gas.npz") as file:
        assert file.files == ["header", "params/levels/logits", "params/shift/w"]
        np.testing.assert_array_equal(file["params/shift/w"], params["shift"].w)


def test_another_density_and_precision_are_no_other_model(params, tmp_path):
    save(tmp_path / "gas.npz", in_precision(params, "float32"))
    loaded = load(tmp_path / "gas.npz", model, gas(rs=8.0, theta=0.3))
    assert loaded["shift"].w.dtype == "float32"


def deeper(gas):
    K = pnct.sample("K", dist.Occupation(gas, pnct.module("levels", lambda key: levels(gas))))
    return pnct.sample("R", dist.Born(gas.orbitals, K, tiny_program.Shift(jnp.zeros(2), 0.9, 1.0)))


def levels(gas):
    return tiny_program.Levels(jnp.zeros(len(gas.orbitals)))


@pytest.mark.parametrize(
    ("model", "system", "message"),
    [
        (model, gas(cutoff=3.0), r"levels/logits \('\(\d,\)' there, '\(\d+,\)' here\)"),
        (deeper, GAS, r"shift/w \('\(2,\)' there, absent here\)"),
        (lambda gas: model(gas, a=0.5), GAS, r"shift\.a \(0\.9 there, 0\.5 here\)"),
    ],
)
def test_other_modules_are_refused_with_what_differs(params, tmp_path, model, system, message):
    save(tmp_path / "gas.npz", params)
    with pytest.raises(
        ValueError, match=rf"parameters of this model; got .*gas.npz, which differs in {message}"
    ):
        load(tmp_path / "gas.npz", model, system)


def test_what_is_no_file_of_parameters_is_refused(params, tmp_path):
    save(tmp_path / "gas.npz", params)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "gas.npz").read_bytes()[:-70])
    with pytest.raises(DamagedError, match=r"cut.npz is damaged"):
        load(tmp_path / "cut.npz", model, GAS)
    write_archive(tmp_path / "other.npz", {}, {})
    with pytest.raises(ValueError, match=r"Expected parameters that pnct.inference.save has written"):
        load(tmp_path / "other.npz", model, GAS)


def test_double_precision_is_not_lost_unseen(params, tmp_path):
    save(tmp_path / "gas.npz", params)
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"Expected jax_enable_x64, .* have float64"):
        load(tmp_path / "gas.npz", model, GAS)


def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(parameters)
    assert found.attempted > 5 and not found.failed
