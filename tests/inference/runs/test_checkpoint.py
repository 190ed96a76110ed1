"""One file per state: what comes back is what went in, and a file that was changed or is of another run is
never believed.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pnct.inference.runs.archive import DamagedError
from pnct.inference.runs.checkpoint import Checkpoint, keep_only, load_checkpoint, newest, save_checkpoint

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


def like(state, memory=None):
    return Checkpoint(state, {}, memory)


def test_what_comes_back_is_what_went_in(tmp_path):
    path = save_checkpoint(tmp_path, 5, Checkpoint(state(), history(5)), RUN)
    found = load_checkpoint(path, like(state(1)), RUN)
    for name, leaf in state().items():
        same = jax.random.key_data if name == "key" else np.asarray
        np.testing.assert_array_equal(same(found.state[name]), same(leaf))
        assert found.state[name].dtype == leaf.dtype
    for name, column in history(5).items():
        np.testing.assert_array_equal(found.history[name], column)
        assert found.history[name].dtype == column.dtype
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000005.npz"]


def test_numpy_reads_the_file_without_pickle(tmp_path):
    path = save_checkpoint(tmp_path, 5, Checkpoint(state(), history(5), {"best": jnp.ones(2)}), RUN)
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(file["header"].item())
        assert header == {"step": 5, "run": RUN, "keys": {"state/key": "threefry2x32"}}
        np.testing.assert_array_equal(file["state/w"], state()["w"])
        np.testing.assert_array_equal(file["history/F"], history(5)["F"])
        names = ["header", *(f"state/{name}" for name in sorted(state()))]
        assert file.files == [*names, *(f"history/{name}" for name in sorted(history(5))), "memory/best"]


def test_what_is_remembered_may_grow_and_stays_what_it_is(tmp_path):
    """Arrays of the host stay there, with their precision; names are those of the template."""
    remembered = {"best": {"w": jnp.arange(3.0)}, "rows": np.linspace(0, 1, 7)}
    path = save_checkpoint(tmp_path, 5, Checkpoint(state(), history(5), remembered), RUN)
    template = {"best": {"w": jnp.zeros(3)}, "rows": np.zeros(0)}
    found = load_checkpoint(path, like(state(), template), RUN).memory
    assert isinstance(found["rows"], np.ndarray) and isinstance(found["best"]["w"], jax.Array)
    np.testing.assert_array_equal(found["rows"], remembered["rows"])
    with pytest.raises(ValueError, match=r"of this workflow; got .* \('memory/best/w' there, absent here\)"):
        load_checkpoint(path, like(state()), RUN)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_change_of_a_file_goes_unseen(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "step-000000003.npz"
    if not path.exists():
        save_checkpoint(folder, 3, Checkpoint(state(), history(3)), RUN)
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    flip = data.draw(st.integers(0, 255))
    changed = content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :] if flip else content[:at]
    broken = folder / "changed"
    broken.write_bytes(changed)
    with pytest.raises(DamagedError, match="changed is damaged"):
        load_checkpoint(broken, like(state()), RUN)


def test_a_damaged_file_is_passed_over_and_told(tmp_path):
    for step in (3, 4):
        save_checkpoint(tmp_path, step, Checkpoint(state(step), history(step)), RUN)
    last = tmp_path / "step-000000004.npz"
    last.write_bytes(last.read_bytes()[:-9])
    with pytest.warns(
        UserWarning, match="step-000000004.npz is damaged.*The checkpoint before it is used instead"
    ):
        path, found = newest(tmp_path, like(state()), RUN)
    assert path.name == "step-000000003.npz" and len(found.history["F"]) == 3
    path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(ValueError, match="got 2, all of them damaged"),
    ):
        newest(tmp_path, like(state()), RUN)


def test_what_an_interrupted_writing_leaves_is_no_checkpoint(tmp_path):
    path = save_checkpoint(tmp_path, 3, Checkpoint(state(), history(3)), RUN)
    (tmp_path / ".step-000000004.npz.part").write_bytes(path.read_bytes()[:100])
    assert newest(tmp_path, like(state()), RUN)[0] == path
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
    path = save_checkpoint(tmp_path, 3, Checkpoint(state(), history(3)), RUN)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path, like(state()), RUN | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": jnp.zeros((2, 4))}, r"state/w.shape\[1\] \(3 there, 4 here\)"),
        ({"w": jnp.zeros((2, 3), jnp.float32)}, r"state/w.dtype \('float64' there, 'float32' here\)"),
        ({"v": jnp.zeros(1)}, r"state/v.shape\[0\] \(absent there"),
        ({"key": jax.random.key(0, impl="rbg")}, r"state/key.*'threefry2x32' there, 'rbg' here"),
    ],
)
def test_another_structure_is_refused_with_what_differs(tmp_path, change, message):
    path = save_checkpoint(tmp_path, 3, Checkpoint(state(), history(3)), RUN)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path, like(state() | change), RUN)


def test_a_history_of_other_fields_is_refused_by_their_names(tmp_path):
    path, begun = (
        save_checkpoint(tmp_path, steps, Checkpoint(state(), history(steps) if steps else {}), RUN)
        for steps in (3, 0)
    )
    assert load_checkpoint(path, like(state()), RUN, ("ok", "K", "F")).history.keys() == history(3).keys()
    assert (
        load_checkpoint(begun, like(state()), RUN, ("F", "S")).history == {}
    )  # before the first step there is none
    with pytest.raises(
        ValueError,
        match=r"^Expected a history with the fields .*; got .*3.npz, which differs in K, S, ok.$",
    ):
        load_checkpoint(path, like(state()), RUN, ("F", "S"))
