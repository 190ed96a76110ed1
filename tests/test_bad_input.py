"""Whatever is asked for, the outcome is a right answer or a ValueError that says what was expected: never
another error.

Random systems, states, coordinates, settings and command lines, good and bad ones mixed; nothing is compiled.
"""

import importlib.util
import math
import re
from collections.abc import Callable
from pathlib import Path

import jax
import jaxtyping
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from identity_flow import Identity

from pnct import ElectronGas, hamiltonian
from pnct.distributions import Born, Determinantal, Occupation, transformer
from pnct.distributions.occupation import validate_occupation
from pnct.flows import CanonicalTransformation, Flow, backflow, ferminet
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.observables.correlations import occupations, pair_correlation, structure_factor


@pytest.fixture(scope="module", autouse=True)
def unchecked():
    """As in conftest, for all tests of this file; hypothesis wants no fixture for each of its examples."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


GAS = ElectronGas((2, 1), dim=2, rs=2.0, theta=0.3, twist=(0.1, 0.2), cutoff=3.0)
NOT_NUMBERS = st.sampled_from([None, "4", "many", (), [1, 2], math.nan, math.inf, -math.inf, 1j, {}])


def cases(number):
    return settings(max_examples=number, deadline=None, suppress_health_check=list(HealthCheck))


def outcome(function, *args, **kwargs):
    """The value, or None where a ValueError says in one line what was expected."""
    try:
        return function(*args, **kwargs)
    except ValueError as error:
        assert re.match(r"Expected .*got ", str(error)), error
        assert "\n" not in str(error)
        return None


numbers = st.one_of(st.floats(-1, 20), st.integers(-2, 9), NOT_NUMBERS)
electrons = st.one_of(
    st.tuples(st.integers(0, 7), st.integers(0, 7)),
    st.lists(st.integers(-2, 5), max_size=4),
    st.tuples(st.floats(0, 4), st.integers(0, 3)),
    NOT_NUMBERS,
)
twists = st.one_of(st.floats(-0.5, 0.5), st.lists(st.floats(-0.5, 0.5), max_size=4), NOT_NUMBERS)
dims = st.one_of(st.sampled_from([2, 3]), numbers)


@cases(800)
@given(electrons, dims, numbers, numbers, twists, st.one_of(st.floats(0, 8), st.floats(0, 8), numbers))
def test_a_system_is_right_or_refused(num_electrons, dim, rs, theta, twist, cutoff):
    assume(cutoff is not None)  # the default is the business of the next test
    gas = outcome(ElectronGas, num_electrons, dim, rs, theta, twist, cutoff)
    if gas is not None:
        check_system(gas)
        assert gas.rs == float(rs) > 0 and gas.theta == float(theta) >= 0


@cases(40)
@given(
    st.sampled_from([(0, 0), (1, 0), (2, 1), (0, 3)]),
    st.sampled_from([2, 3]),
    st.sampled_from([0, 0.2]),
    st.sampled_from([0.0, 0.25]),
)
def test_the_default_table_holds_the_electrons(num_electrons, dim, theta, twist):
    gas = outcome(ElectronGas, num_electrons, dim, 1.0, theta, twist)
    assert (gas is None) == (num_electrons == (0, 0))
    if gas is not None:
        check_system(gas)


def check_system(gas):
    """Density, orbital table and ground state, each against its definition."""
    volume = gas.L**gas.dim
    assert volume == pytest.approx(gas.N * (math.pi if gas.dim == 2 else 4 * math.pi / 3))
    n = gas.orbitals.indices - np.asarray(gas.twist)
    np.testing.assert_allclose(n, np.round(n), atol=1e-12)
    energies = np.sum(gas.orbitals.indices**2, axis=1)
    assert np.all(np.diff(energies) > -1e-8) and energies[-1] <= gas.cutoff + 1e-8
    assert len(np.unique(np.round(n), axis=0)) == len(n) >= max(gas.num_electrons)
    validate_occupation(gas, gas.ground_state)


shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
dtypes = st.sampled_from([np.int32, np.int64, np.uint8, np.float32, np.float64, np.bool_])


@cases(500)
@given(st.data())
def test_a_state_is_a_state_or_refused(data):
    M = len(GAS.orbitals)
    shape = data.draw(st.one_of(st.just((3,)), st.just((3,)), shapes))
    size = math.prod(shape)
    K = data.draw(st.lists(st.integers(-1, M), min_size=size, max_size=size))
    dtype = data.draw(st.one_of(st.just(np.int32), dtypes))
    K = np.array(K).astype(dtype).reshape(shape)
    good = shape == (3,) and np.issubdtype(dtype, np.integer) and K.min() >= 0 and K.max() < M and K[0] < K[1]
    try:
        validate_occupation(GAS, K)
        assert good
    except ValueError as error:
        assert str(error).startswith("Expected") and not good
    if shape != (3,):
        for law in (lambda: Determinantal(GAS.orbitals, K), lambda: Born(GAS.orbitals, K, Identity())):
            assert outcome(law) is None


@cases(300)
@given(shapes, st.sampled_from([0.0, 1.5, np.nan, np.inf, -np.inf]), dtypes)
def test_coordinates_of_another_shape_or_without_value_are_refused(shape, value, dtype):
    assume(shape[-2:] != (3, 2) or not np.isfinite(value))
    R = np.full(shape, value if np.issubdtype(dtype, np.floating) else 1, dtype)
    assume(not (shape[-2:] == (3, 2) and np.all(np.isfinite(R))))
    born = Born(GAS.orbitals, GAS.ground_state, Identity())
    assert outcome(born.log_prob, R) is None
    assert outcome(born.log_psi, R) is None


settings_of_networks = st.one_of(st.integers(-1, 6), st.floats(0, 5), st.booleans(), NOT_NUMBERS)


@cases(300)
@given(settings_of_networks, settings_of_networks, settings_of_networks)
def test_network_sizes_are_whole_numbers_or_refused(depth, width, heads):
    def whole(*xs):
        return all(isinstance(x, int) and not isinstance(x, bool) and x >= 1 for x in xs)

    for make in (ferminet, backflow):
        assert (outcome(make, GAS.space, depth=depth, width=width) is not None) == whole(depth, width)
    possible = whole(depth, width, heads) and width % heads == 0
    assert (outcome(transformer, GAS, layers=depth, width=width, heads=heads) is not None) == possible


@cases(300)
@given(settings_of_networks, settings_of_networks, st.sampled_from([natural_gradient(), None, "adam", 0.1]))
def test_settings_of_a_run_are_right_or_refused(num_walkers, chunk_size, optim):
    def make():
        return VariationalFreeEnergy(lambda gas: None, HAMILTONIAN, optim, num_walkers, chunk_size)

    def whole(x, least):
        return isinstance(x, int) and not isinstance(x, bool) and x >= least

    good = (
        whole(num_walkers, 2)
        and (chunk_size is None or whole(chunk_size, 1))
        and not isinstance(optim, str | float | None)
    )
    vfe = outcome(make)
    assert (vfe is not None) == good
    if vfe is not None:
        assert vfe.num_walkers == num_walkers


HAMILTONIAN = hamiltonian(GAS)


@cases(200)
@given(shapes, st.one_of(st.integers(-1, 6), st.floats(0, 3)), st.booleans())
def test_observables_of_other_shapes_are_refused(shape, bins, finite):
    R = np.random.default_rng(0).uniform(0, GAS.L, shape) + (0 if finite else np.nan)
    good = shape[1:] == (3, 2) and len(shape) == 3 and shape[0] > 0 and finite
    found = outcome(pair_correlation, R, GAS.space, bins)
    assert (found is not None) <= good
    assert outcome(structure_factor, R, GAS.space, np.zeros((1, 3))) is None
    assert outcome(occupations, R, len(GAS.orbitals)) is None


@pytest.fixture(scope="module")
def example():
    """examples/heg3d.py as a module; its choice of devices is left out, since here jax has long started."""
    path = Path(__file__).parents[1] / "examples" / "heg3d.py"
    spec = importlib.util.spec_from_file_location("heg3d", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        patch.setattr(jax.config, "update", lambda name, value: None)
        spec.loader.exec_module(module)
    return module


NONSENSE = ["", "x", "nan", "inf", "1e999", "-", "-1"]
FLAGS = {  # the sensible values are few, since each new size of the orbital table is compiled
    "--num-up": ["1", "2", "7"],
    "--num-down": ["0", "1"],
    "--rs": ["1", "0.5", "1e3"],
    "--theta": ["0", "0.2"],
    "--twist": ["0", "0.25"],
    "--steps": ["0", "7"],
    "--walkers": ["2", "16", "1"],
    "--samples": ["8", "7"],
    "--seed": ["3"],
}
flag = st.sampled_from(list(FLAGS)).flatmap(
    lambda name: st.sampled_from([f"{name}={x}" for x in FLAGS[name] * 2 + NONSENSE])
)


@cases(300)
@given(
    st.lists(flag, max_size=4), st.sampled_from([[], [], [], ["--frobnicate"], ["--resume", "--overwrite"]])
)
def test_a_command_line_is_understood_or_refused_in_one_line(example, capsys, chosen, more):
    command = chosen + more
    parser = example.arguments()
    capsys.readouterr()
    try:
        args = parser.parse_args(command)
        gas = example.system(args, parser, dim=3)
        vfe = example.routine(gas, args, parser)
    except SystemExit as stop:
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert stop.code == 2 and "error: " in error
        return
    check_system(gas)
    assert gas.rs == args.rs and vfe.num_walkers == args.walkers >= 2 and args.steps >= 0


@pytest.mark.parametrize("flow", [None, 3.0, lambda R: R, np.zeros(3), Identity, ferminet(GAS.space)])
def test_what_is_no_flow_is_refused(flow):
    assert outcome(Born, GAS.orbitals, GAS.ground_state, flow) is None
    assert outcome(CanonicalTransformation, flow) is None


class Holding(Flow):
    """A flow with a function where arrays are expected."""

    function: Callable

    def __call__(self, R):
        return self.function(R)


def test_a_function_among_the_arrays_of_a_flow_is_refused():
    assert outcome(Born, GAS.orbitals, GAS.ground_state, Holding(np.sin)) is None


def test_a_network_of_another_gas_names_what_it_expected():
    other = ElectronGas((2, 1), dim=2, rs=2.0, theta=0.3, twist=(0.1, 0.2), cutoff=9.0)
    network = jax.eval_shape(transformer(GAS), jax.random.key(0))
    assert outcome(Occupation, other, network) is None
