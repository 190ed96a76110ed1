"""Two trained density matrices that differ by one electron: the same cell, temperature, twist and table of
orbitals,

    r_s' = r_s (N/N')^(1/d),    T' = T

so that theta differs, and orbitals have the same numbers and the same momenta in units of 2 pi/L.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.observables.thermodynamics import volume, with_electrons
from pnct.inference.sampling.sites import Sites, measured_at, read_sites
from pnct.systems.electron_gas import ElectronGas
from pnct.validation import checked_integer

SPINS = ("up", "down")


class TrainedGas(NamedTuple):
    """A trained density matrix: its model and Hamiltonian, the gas, the parameters."""

    vfe: VariationalFreeEnergy
    gas: ElectronGas
    params: dict[str, Any]


class Pair(NamedTuple):
    """Two density matrices of N and N + 1 electrons in one cell, of `check_pair`."""

    less: TrainedGas
    more: TrainedGas
    spin: int  # of the added electron: 0 up, 1 down
    sites: tuple[Sites, Sites]


def neighbour(gas: ElectronGas, change: int, spin: str = "up") -> ElectronGas:
    """The gas of one electron more (change = 1) or less (-1) of this spin in the same cell at the same
    temperature.
    """
    if change not in (1, -1) or spin not in SPINS:
        raise ValueError(f"Expected change = 1 or -1 and spin 'up' or 'down'; got {change!r} and {spin!r}.")
    numbers = list(gas.num_electrons)
    numbers[SPINS.index(spin)] += change
    if min(numbers) < 0 or sum(numbers) == 0:
        raise ValueError(
            f"Expected an electron with spin {spin} to take away and one that stays; got num_electrons = "
            f"{gas.num_electrons}."
        )
    return with_electrons(gas, tuple(numbers))


def check_pair(less: TrainedGas, more: TrainedGas) -> Pair:
    """The pair, and the spin of the added electron. Raises ValueError, naming both gases, unless they belong
    together.
    """
    a = less.gas
    b = more.gas
    change = tuple(np.subtract(b.num_electrons, a.num_electrons))
    one_more = a.dim == b.dim and change in ((1, 0), (0, 1))
    alike = (
        one_more
        and np.allclose(
            [volume(a), float(a.temperature)], [volume(b), float(b.temperature)], rtol=1e-9, atol=0
        )
        and np.allclose(a.twist, b.twist)
    )
    if not alike:
        raise ValueError(
            "Expected one electron more in the same cell, at the same twist and temperature; got "
            f"{_described(a)} and {_described(b)}. `neighbour` makes the gas that belongs to another."
        )
    if len(a.orbitals) != len(b.orbitals):
        raise ValueError(
            f"Expected both gases to have one table of orbitals; got {len(a.orbitals)} and "
            f"{len(b.orbitals)} orbitals. Set `cutoff` of both to the larger, {max(a.cutoff, b.cutoff):g}."
        )
    sites = tuple(read_sites(x.vfe.model, x.params, (x.gas,)) for x in (less, more))
    for found in sites:
        if len(found.state) != 1 or found.classical != found.state:
            raise ValueError(
                f"Expected models with one unobserved site, which names the state; got {found.classical}."
            )
    return Pair(less, more, change.index(1), sites)


def _described(gas) -> str:
    return (
        f"{gas.num_electrons} electrons in {gas.dim}D (volume {volume(gas):.6g} a_0^{gas.dim}, T = "
        f"{float(gas.temperature):.6g} hartree, twist {gas.twist})"
    )


def checked_orbital(pair: Pair, k) -> int:
    """The number of an orbital of the table that both gases share."""
    k = checked_integer("k", k, 0)
    if k >= len(pair.less.gas.orbitals):
        raise ValueError(
            f"Expected k to be an orbital of the table, 0 ... {len(pair.less.gas.orbitals) - 1}; got {k}. "
            "Raise `cutoff` of both gases."
        )
    return k


def momenta(gas, Ks: Int[np.ndarray, "S N"]) -> Float[np.ndarray, "S dim"]:
    """The total momenta of the states K in units of 2 pi/L, in which both gases of a pair are alike."""
    return np.sum(gas.orbitals.indices[np.asarray(Ks)], axis=1)


def checked_states(trained: TrainedGas, Ks) -> Int[np.ndarray, "S N"]:
    """Ks, shape (S, N). Raises ValueError unless they are states of the gas."""
    Ks = np.atleast_2d(np.asarray(Ks))
    if Ks.ndim != 2 or Ks.shape[1] != trained.gas.N or not np.issubdtype(Ks.dtype, np.integer):
        raise ValueError(
            f"Expected states of {trained.gas.N} electrons, whole numbers; got {Ks.shape}, {Ks.dtype}."
        )
    up = trained.gas.num_electrons[0]
    ascending = all(np.all(np.diff(part, axis=1) > 0) for part in (Ks[:, :up], Ks[:, up:]))
    if not ascending or Ks.min() < 0 or Ks.max() >= len(trained.gas.orbitals):
        raise ValueError(
            f"Expected orbitals 0 ... {len(trained.gas.orbitals) - 1}, ascending for each spin; got "
            f"{Ks.tolist()}."
        )
    return Ks


def quantum_numbers(
    trained: TrainedGas, sites: Sites, Ks: Int[np.ndarray, "S N"]
) -> Float[np.ndarray, "S q"]:
    """What the states K conserve: those of equal numbers share their flow. In units of 1/L, to 1e-3."""
    first = {sites.state[0]: jnp.asarray(Ks[0])}
    born = measured_at(trained.vfe.model, sites, trained.params, first, (trained.gas,))
    Q = jax.vmap(born.states.quantum_numbers)(jnp.asarray(Ks))
    return np.round(np.asarray(Q, float) * trained.gas.L, 3)
