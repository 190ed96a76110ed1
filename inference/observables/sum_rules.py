r"""What a spectral function has to obey, set beside what was found:

    int A^>_N + A^<_N dw = 1,     int A^<_N dw = n_k,     sum_k n_k = N_s of the spin
    int w A_N dw = k^2/2 + xi/2 - sum_{k' != k, same spin} v(k - k') n_k'          hartree, a_0
    int A^<_{N+1} dw = int exp(-(w - mu)/T) A^>_N dw                               detailed balance

xi: the Madelung constant of the cell; v(q) = 4 pi/(L^3 q^2) in 3D, 2 pi/(L^2 q) in 2D. n_k of any route, such
as pnct.inference.observables.momentum_distribution. The first moment is dominated by what little weight lies
high above the Fermi energy, where no states are listed: of every missing hundredth it lacks a hundredth of
the energy that it would have.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from pnct.estimate import Estimate
from pnct.inference.observables.momentum_distribution import MomentumDistribution
from pnct.inference.observables.poles import Poles
from pnct.inference.observables.spectral_function import SpectralFunction
from pnct.systems.ewald import madelung
from pnct.systems.first_order import exchange_integrals


class Rule(NamedTuple):
    """What was found and what it should be, at each orbital; one entry for a sum over all of them."""

    found: tuple[Estimate, ...]
    expected: tuple[Estimate, ...]

    @property
    def sigmas(self) -> Float[np.ndarray, " O"]:
        """The differences in units of their errors, as if both were independent."""
        found, expected = (np.array(x, float) for x in (self.found, self.expected))
        return (found[:, 0] - expected[:, 0]) / np.hypot(found[:, 1], expected[:, 1])


class SumRules(NamedTuple):
    """The rules of A_N; the first moment in hartree."""

    unity: Rule
    occupation: Rule
    number: Rule
    first_moment: Rule


def sum_rules(gas, removed: Poles, added: Poles, n: MomentumDistribution, spin: str = "up") -> SumRules:
    """The rules of A_N from `removed`, A^<_N of the pair (N - 1, N), and `added`, A^>_N of (N, N + 1).

    gas: of the N electrons, and n their momentum distribution.  spin: of the electron added and taken away.
    """
    if not np.array_equal(removed.orbitals, added.orbitals):
        raise ValueError(
            f"Expected both parts at the same orbitals; got {removed.orbitals.tolist()} and "
            f"{added.orbitals.tolist()}."
        )
    orbitals = added.orbitals
    n_k = tuple(Estimate(float(n.n[spin][k]), float(n.error[spin][k]), np.nan) for k in orbitals)
    gone = removed.sum()
    others = np.setdiff1d(np.arange(len(gas.orbitals)), orbitals)
    number = gas.num_electrons[0 if spin == "up" else 1] - np.sum(n.n[spin][others])
    e = np.sum(added.wavevectors**2, axis=1) / 2 + madelung(gas.dim) / (2 * gas.L * float(gas.rs))
    exchange = exchange_integrals(gas)[orbitals] / float(gas.rs)
    moment = [
        _exactly(x, np.sqrt(v))
        for x, v in zip(e - exchange @ n.n[spin], exchange**2 @ n.error[spin] ** 2, strict=True)
    ]
    return SumRules(
        Rule(_added_up(gone, added.sum()), tuple(_exactly(1.0) for _ in orbitals)),
        Rule(tuple(gone), n_k),
        Rule((_total(removed),), (_exactly(number, np.sqrt(np.sum(n.error[spin][others] ** 2))),)),
        Rule(_added_up(_moments(removed), _moments(added)), tuple(moment)),
    )


def detailed_balance(A: SpectralFunction, temperature: float) -> Rule:
    """int exp(-(w - mu)/T) A^>_N dw beside int A^<_{N+1} dw, T in hartree.

    Where the energies are those of a tabulated p(K) both are the same by definition; it is a check of
    energies that were sampled (`sampled=True`).
    """
    boltzmann = np.exp(-(A.added.energy - A.mu.value) / temperature)
    shift = A.added._replace(weight=np.abs(A.added.weight)).sum(
        boltzmann * A.added.energy_error / temperature
    )
    found = [
        Estimate(x.value, float(np.hypot(x.error, y.value)), np.nan)
        for x, y in zip(A.added.sum(boltzmann), shift, strict=True)
    ]
    return Rule(tuple(found), tuple(A.removed.sum()))


def _moments(part: Poles):
    """sum of w_n Z_n; the errors of the energies of one orbital count as one."""
    shift = part._replace(weight=np.abs(part.weight)).sum(part.energy_error)
    return [
        Estimate(x.value, float(np.hypot(x.error, y.value)), np.nan)
        for x, y in zip(part.sum(part.energy), shift, strict=True)
    ]


def _total(part: Poles) -> Estimate:
    """The sum of all weights, of all orbitals together."""
    (total,) = part._replace(orbitals=part.orbitals[:1], k=np.zeros_like(part.k)).sum()
    return total


def _added_up(first, second) -> tuple[Estimate, ...]:
    return tuple(
        Estimate(x.value + y.value, float(np.hypot(x.error, y.error)), np.nan)
        for x, y in zip(first, second, strict=True)
    )


def _exactly(value, error=0.0) -> Estimate:
    return Estimate(float(value), float(error), np.nan)
