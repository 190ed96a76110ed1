"""One file per state: what comes back is what went in, and a file that was changed or is of another run is
never believed.
"""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pnct import ElectronGas, HarmonicTrap
from pnct.inference.runs.checkpoint import Checkpoint, DamagedError, keep_only, load, newest, save
from pnct.inference.runs.fingerprint import describe, differences

RUN = {"model": "gas", "rs": 4.0, "orbitals": [[0, 0], [0, 1]]}


def state(seed=0):
    normal = np.random.default_rng(seed).normal
    return {
        "w": jnp.asarray(normal(size=(2, 3))),
        "n": jnp.asarray(7, jnp.int32),
        "key": jax.random.key(seed),
        "empty": jnp.zeros(0),
    }


def history(steps):
    return {
        "F": np.linspace(-1, -2, steps),
        "K": np.arange(2 * steps, dtype=np.int32).reshape(steps, 2),
        "ok": np.ones(steps, bool),
    }


def test_what_comes_back_is_what_went_in(tmp_path):
    path = save(tmp_path, 5, Checkpoint(state(), history(5)), RUN)
    found = load(path, state(1), RUN)
    for name, leaf in state().items():
        same = jax.random.key_data if name == "key" else np.asarray
        np.testing.assert_array_equal(same(found.state[name]), same(leaf))
        assert found.state[name].dtype == leaf.dtype
    for name, column in history(5).items():
        np.testing.assert_array_equal(found.history[name], column)
        assert found.history[name].dtype == column.dtype
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000005.checkpoint"]


def test_the_header_can_be_read_by_anybody(tmp_path):
    path = save(tmp_path, 5, Checkpoint(state(), history(5)), RUN)
    header = json.loads(path.read_bytes().split(b"\n")[1])
    assert header["run"] == RUN and header["step"] == 5
    assert {"path": "['state']['w']", "shape": [2, 3], "dtype": "<f8", "key": None} in header["arrays"]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_change_of_a_file_goes_unseen(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "step-000000003.checkpoint"
    if not path.exists():
        save(folder, 3, Checkpoint(state(), history(3)), RUN)
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    flip = data.draw(st.integers(0, 255))
    changed = content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :] if flip else content[:at]
    broken = folder / "changed"
    broken.write_bytes(changed)
    with pytest.raises(DamagedError, match="changed is damaged"):
        load(broken, state(), RUN)


def test_a_damaged_file_is_passed_over_and_told(tmp_path):
    for step in (3, 4):
        save(tmp_path, step, Checkpoint(state(step), history(step)), RUN)
    last = tmp_path / "step-000000004.checkpoint"
    last.write_bytes(last.read_bytes()[:-9])
    with pytest.warns(
        UserWarning, match="step-000000004.checkpoint is damaged.*The checkpoint before it is used instead"
    ):
        path, found = newest(tmp_path, state(), RUN)
    assert path.name == "step-000000003.checkpoint" and len(found.history["F"]) == 3
    path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(ValueError, match="got 2, all of them damaged"),
    ):
        newest(tmp_path, state(), RUN)


def test_what_an_interrupted_writing_leaves_is_no_checkpoint(tmp_path):
    path = save(tmp_path, 3, Checkpoint(state(), history(3)), RUN)
    (tmp_path / ".step-000000004.checkpoint.part").write_bytes(path.read_bytes()[:100])
    assert newest(tmp_path, state(), RUN)[0] == path
    keep_only(tmp_path, (path,))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rs": 5.0}, r"differs in rs \(4.0 there, 5.0 here\)"),
        (
            {"orbitals": [[0, 0], [1, 0]]},
            r"orbitals\[1\]\[0\] \(0 there, 1 here\), orbitals\[1\]\[1\] \(1 there, 0 here\)",
        ),
        ({"versions": {"jax": "0.1"}}, r"versions.jax \(absent there, '0.1' here\)"),
    ],
)
def test_another_run_is_refused_with_what_differs(tmp_path, change, message):
    path = save(tmp_path, 3, Checkpoint(state(), history(3)), RUN)
    with pytest.raises(ValueError, match=message):
        load(path, state(), RUN | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": jnp.zeros((2, 4))}, r"\['w'\].shape\[1\] \(3 there, 4 here\)"),
        ({"w": jnp.zeros((2, 3), jnp.float32)}, r"\['w'\].dtype \('<f8' there, '<f4' here\)"),
        ({"v": jnp.zeros(1)}, r"\['v'\].path \(absent there"),
        ({"key": jax.random.key(0, impl="rbg")}, r"\['key'\].*'threefry2x32' there, 'rbg' here"),
    ],
)
def test_another_structure_is_refused_with_what_differs(tmp_path, change, message):
    path = save(tmp_path, 3, Checkpoint(state(), history(3)), RUN)
    with pytest.raises(ValueError, match=message):
        load(path, state() | change, RUN)


def test_a_history_of_other_fields_is_refused_by_their_names(tmp_path):
    path, begun = (
        save(tmp_path, steps, Checkpoint(state(), history(steps) if steps else {}), RUN) for steps in (3, 0)
    )
    assert load(path, state(), RUN, ("ok", "K", "F")).history.keys() == history(3).keys()
    assert load(begun, state(), RUN, ("F", "S")).history == {}  # before the first step there is none
    with pytest.raises(
        ValueError,
        match=r"^Expected a history with the fields .*; got .*3.checkpoint, which differs in K, S, ok.$",
    ):
        load(path, state(), RUN, ("F", "S"))


def test_descriptions_see_the_program_and_not_its_comments():
    def one(x):
        return x + 1

    def two(x):
        return x + 2

    first = describe(one)
    assert first["function"].endswith("one") and len(first["source"]) == 16
    assert describe(two)["source"] != first["source"]
    assert describe({"a": np.arange(3), "b": np.zeros((20, 20)), "c": [None, True]}) == {
        "a": [0, 1, 2],
        "b": "float64[20, 20]",
        "c": [None, True],
    }


def test_differences_forgive_the_last_digit_only():
    assert not differences({"x": 0.1 + 0.2}, {"x": 0.3})
    assert differences({"x": 0.3}, {"x": 0.3 + 1e-9})
    assert differences({"x": 1}, {"x": True})
    assert differences({f"x{i}": 0 for i in range(9)}, {f"x{i}": 1 for i in range(9)}).endswith("6 more")


@pytest.mark.parametrize(
    "system", [ElectronGas((2, 1), 2, 3.0, 0.5), HarmonicTrap((2, 1)), HarmonicTrap((2, 0), dim=3)]
)
def test_every_table_of_orbitals_can_be_described_in_full(system):
    listed = describe(system.orbitals, listed=math.inf)
    assert not differences(json.loads(json.dumps(listed)), listed)
