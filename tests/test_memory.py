"""What no machine has the memory for is refused at once, in one line that says what to lower."""

import jax
import pytest
from tiny_program import GAS, routine

from pnct import ElectronGas, memory
from pnct.inference.training import memory_estimate
from pnct.systems.first_order import pair_occupations
from pnct.systems.ideal_gas import canonical


@pytest.fixture
def small_machine(monkeypatch):
    """64 MB."""
    monkeypatch.setattr(memory, "machine_memory", lambda: 64e6)
    monkeypatch.setattr(memory_estimate, "machine_memory", lambda: 64e6)


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"num_electrons": (7, 0), "theta": 100.0},
            r"a table of .* plane waves, up to \|n\|\^2 = .*Lower theta",
        ),
        ({"num_electrons": (7, 0), "cutoff": 1e12}, r"a table of .* plane waves, .*Lower theta, `cutoff`"),
        ({"num_electrons": (2_000_000, 0), "theta": 0.0}, r"a table of .* plane waves"),
    ],
)
def test_a_table_of_too_many_orbitals_is_refused(settings, message):
    with pytest.raises(ValueError, match=rf"^Expected {message}"):
        ElectronGas(**settings)


@pytest.mark.usefixtures("small_machine")
def test_tables_of_too_many_electrons_or_pairs_are_refused():
    b = jax.numpy.zeros(5000)
    with pytest.raises(
        ValueError, match=r"^Expected the canonical tables of 2000 electrons in 5000 orbitals to"
    ):
        canonical(b, 2000)
    with pytest.raises(ValueError, match=r"^Expected the pairs of 5000 orbitals .*Lower theta or `cutoff`"):
        pair_occupations(b, 2)


@pytest.mark.usefixtures("small_machine")
def test_a_step_of_too_many_walkers_is_refused_before_it_is_traced():
    key = jax.random.key(0)
    routine().init(key, GAS)
    message = r"^Expected a step of 1000000 walkers with 9 numbers each, for 5 orbitals, .*Lower num_walkers"
    with pytest.raises(ValueError, match=message):
        routine(num_walkers=1_000_000).init(key, GAS)


def test_a_machine_says_how_much_memory_it_has():
    assert memory.machine_memory() > 1e8
    memory.check_memory(1e6, "nothing", "")
