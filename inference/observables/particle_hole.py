r"""The effective mass from particle-hole states, those of one electron moved from an orbital h below the
Fermi level to an orbital p above it:

    E_K - E_0 = (m/m*) (e_p - e_h),     E_K = <Psi_K|H|Psi_K>,   E_0 that of closed shells,   e = k^2/2 r_s^2

is a straight line through the origin, fitted with weights w_K = 1/Var(E_K - E_0) that are then fixed,

    m/m* = sum_K c_K (E_K - E_0),       c_K = w_K x_K / sum w x^2,   x_K = e_p - e_h,

none of them above ten times that of the mean variance. Moving one electron of few may turn the ground state
into itself in motion; that state has next to no noise, and m* = m.

What the slope is. In Landau's functional (landau.py), E_K - E_0 = epsilon_p - epsilon_h - f_ph: besides the
quasi-particle energies, whose slope is m/m*, there is the interaction of the particle with the hole. Between
plane waves of one spin it is exchange, -f_ph = v(k_p - k_h)/r_s, which raises E_K. A smooth f is of order
E_F/N and goes out of the slope where e_p - e_h is large beside E_F/N; the lowest states of few electrons are
not there, nor is any number of the lowest in two dimensions, where shells lie as close as that. The bare
Coulomb interaction of determinants is not smooth, and v is as large as e_p - e_h is for the smallest
k_p - k_h, at any N. What couples the particle-hole states of one momentum, and makes a plasmon of them, is no
part of mean values in single states. In a gas of both spins the state is half singlet, half triplet.

s/s_0 (effective_mass.py) counts the levels within T of the Fermi level, and f is no part of it. The two agree
for N -> infinity and T -> 0 only. An E_K - E_0 is no bound: a flow trained on the ground state alone serves
that one best, and the slope is then too large, m*/m too small.

All states meet the same random numbers, so the E_K - E_0 are correlated, and the error is that of the mean of
sum_K c_K (E_loc,K - E_loc,0) over the samples. Energies that lie on no line, for f and the shells of a small
cell are rough, are not in it.
"""

import numpy as np
from jaxtyping import Int

from pnct.estimate import Estimate, mean_of_independent
from pnct.inference.observables.effective_mass import ROUNDING, mass_of_slope
from pnct.inference.observables.excitations import Excitations
from pnct.validation import checked_integer

LEAST_VARIANCE = 0.1  # of the mean one, that gives a state its weight
DECIMALS = 6  # of energies and squared momenta, in units of (2 pi/L)^2, that are compared


def particle_hole_states(gas, number: int) -> Int[np.ndarray, "n N"]:
    """K of the closed shells, then of the `number` lowest particle-hole states: shape (number + 1, N), for
    `excitation_energies`.

    gas: electrons in plane waves, such as ElectronGas. It is an electron of the more numerous spin that
    moves; up, where they are equal. Lowest in e_p - e_h; of those with equal e_h, e_p and |k_p - k_h|, which
    rotations of an infinite gas relate, one alone: the first in the table's order, h before p. Equal
    e_p - e_h are listed by |k_p - k_h|.

    Raises ValueError where a shell is partly filled: its states have excitations of bare energy 0, and which
    of them is the ground state is for the interaction to say. And where the table, which at theta = 0 ends
    at the Fermi level by default, does not hold all states up to the last one; and for orbitals other than
    plane waves.
    """
    number = checked_integer("number", number, 1)
    if gas.orbitals.wedge_map() is None:
        raise ValueError(f"Expected plane waves of a cell; got {type(gas.orbitals).__name__}.")
    _check_closed(gas)
    K_0 = np.asarray(gas.ground_state)
    up, down = gas.num_electrons
    n = max(up, down)
    q, k = np.asarray(gas.orbitals.energies), np.asarray(gas.orbitals.indices)
    if len(q) == n:
        raise ValueError(
            f"Expected a table with orbitals above the Fermi level; got the {n} below it. Raise `cutoff`."
        )
    # An electron at the Fermi level may go to an orbital that is not in the table, at more than this.
    h, p = np.nonzero(_rounded(q[n:] - q[:n, None]) <= _rounded(q[-1] - q[n - 1]))
    p = n + p
    excitation, distance = _rounded(q[p] - q[h]), _rounded(np.sum((k[p] - k[h]) ** 2, axis=1))
    order = np.lexsort((p, h, distance, excitation))
    classes = np.stack([_rounded(q[h]), _rounded(q[p]), distance], axis=1)[order]
    order = order[np.sort(np.unique(classes, axis=0, return_index=True)[1])]
    if len(order) < number:
        raise ValueError(
            f"Expected number <= {len(order)}, the particle-hole states of energies for which a table of "
            f"{len(q)} orbitals holds them all; got {number}. Raise `cutoff`."
        )
    moved = slice(0, up) if up >= down else slice(up, None)
    states = np.tile(K_0, (number + 1, 1))
    for K, i in zip(states[1:], order, strict=False):
        K[moved] = np.sort(np.where(K[moved] == h[i], p[i], K[moved]))
    return states


def mass_from_excitations(gas, states: Int[np.ndarray, "n N"], excitations: Excitations) -> Estimate:
    """m*/m of the straight line through the origin, with its statistical error.

    states: those of the excitations, the first of them the closed shells. States of the bare energy of the
    first have no say. The error is that of the slope to lowest order, which has to be small beside the slope;
    0 where it is rounding. Raises ValueError where states and excitations are not of one number, or all
    states of one bare energy.
    """
    states, differences = np.asarray(states), np.asarray(excitations.differences, float)
    if states.ndim != 2 or len(states) != len(differences):
        raise ValueError(
            f"Expected states of shape ({len(differences)}, N), those of the excitations; got {states.shape}."
        )
    bare = np.sum(np.asarray(gas.orbital_energies, float)[states], axis=1)
    x = bare - bare[0]
    moved = np.abs(x) > ROUNDING * np.max(np.abs(bare))
    if not np.any(moved):
        raise ValueError(f"Expected states of bare energies other than the first; got {len(states)} of one.")
    slope = mean_of_independent(_line(x[moved], differences[moved]))
    return mass_of_slope(*slope)


def _line(x, y):
    """The slope through the origin of each of the samples y, shape (n, S), weights from all of them."""
    samples = y.shape[1]
    variance = np.var(y, axis=1, ddof=1) / samples if samples > 1 else np.zeros(len(x))
    # Without interaction there is no noise but that of rounding, which makes no weights.
    weight = 1 / np.maximum(np.maximum(variance, LEAST_VARIANCE * np.mean(variance)), (ROUNDING * x) ** 2)
    return weight * x @ y / np.sum(weight * x**2)


def _check_closed(gas):
    closed = np.cumsum(np.bincount(gas.shell_index))
    for n, spin in zip(gas.num_electrons, ("up", "down"), strict=True):
        if n > 0 and n not in closed:
            near = [str(m) for m in (*closed[closed < n][-1:], *closed[closed > n][:1])]
            raise ValueError(
                f"Expected closed shells, the nearest of {' or '.join(near)} electrons of a spin; got {n} "
                f"{spin}."
            )


def _rounded(x):
    return np.round(x, DECIMALS)
