"""Two electrons of one spin on a torus, exactly: the relative motion in plane waves q, on which the twist has
no effect.

H = P^2/4 + q^2 + [v(q - q') - v(q + q')]/L^2 between antisymmetric waves, v(q) = 2 pi/q in 2D; q is
half-integer, in units of 2 pi/L, along the axes where P - 2 twist is odd. What the finite basis leaves out
falls as its cutoff^(-3/2). Hartree, a_0.
"""

import numpy as np

from pnct.inference.observables.thermodynamics import StatePoint, volume
from pnct.systems.ewald import madelung

CUTOFFS = (120.0, 240.0)
LARGEST_MOMENTUM = 12


def exact_two_electrons(gas) -> StatePoint:
    """K, V and S of two electrons of one spin in two dimensions, totals; errors zero."""
    coarse, fine = (_canonical(gas, cutoff) for cutoff in CUTOFFS)
    return StatePoint(fine + (fine - coarse) / ((CUTOFFS[1] / CUTOFFS[0]) ** 1.5 - 1), np.zeros((3, 3)))


def _canonical(gas, cutoff):
    side, T = volume(gas) ** 0.5, float(gas.temperature)
    relative = {parity: _relative(side, cutoff, parity) for parity in np.ndindex(2, 2)}
    energy, kinetic = [], []
    for a in np.ndindex(2 * LARGEST_MOMENTUM + 1, 2 * LARGEST_MOMENTUM + 1):
        total = np.array(a) - LARGEST_MOMENTUM
        centre = np.sum((2 * np.pi / side * (total + 2 * np.array(gas.twist))) ** 2) / 4
        e, k = relative[tuple(total % 2)]
        energy.append(e + centre)
        kinetic.append(k + centre)
    energy, kinetic = np.concatenate(energy), np.concatenate(kinetic)
    weight = np.exp(-(energy - energy.min()) / T)
    p = weight / weight.sum()
    E, K, S = p @ energy, p @ kinetic, np.log(weight.sum()) + p @ (energy - energy.min()) / T
    return np.array([K, E - K + madelung(2) / side, S])


def _relative(side, cutoff, parity):
    """Levels of the relative motion, and their kinetic energies."""
    axis = np.arange(-np.ceil(np.sqrt(cutoff)) - 1, np.ceil(np.sqrt(cutoff)) + 2)
    q = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2) + np.array(parity) / 2
    first = (q[:, 0] > 0) | ((q[:, 0] == 0) & (q[:, 1] > 0))  # one of q and -q
    q = 2 * np.pi / side * q[first & (np.sum(q**2, axis=1) <= cutoff)]

    def v(d):
        norm = np.linalg.norm(d, axis=-1)
        return np.where(norm > 1e-9, 2 * np.pi / np.maximum(norm, 1e-9), 0.0) / side**2

    kinetic = np.sum(q**2, axis=1)
    energies, waves = np.linalg.eigh(np.diag(kinetic) + v(q[:, None] - q) - v(q[:, None] + q))
    return energies, kinetic @ waves**2
