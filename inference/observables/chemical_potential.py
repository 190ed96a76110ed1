r"""The chemical potential from two numbers of electrons in one volume, by two routes:

    one electron more       mu = F(N + 1) - F(N)
    fixed N, by density     mu = (F + P Omega)/N = F/N + (2 K + V)/(d N),      the mean of both sizes

Both are those of N + 1/2 electrons. They agree at infinite size; at finite size the second is larger, in the
ideal gas by

    (T/2N) [ln(2 pi Var N) - 1],      Var N = sum_m n_m (1 - n_m) of the grand canonical ensemble,

since ln Z_N = ln Xi - mu N/T - (1/2) ln(2 pi Var N) and Var N ~ Omega. The interaction adds what the size
error of V makes of it, S(q -> 0) xi/(2 d L r_s) at first order (xi/L: Madelung). At first order the whole
difference, shells included, is known without
sampling: `size_effect`.
"""

from typing import NamedTuple

import numpy as np

from pnct.estimate import Estimate
from pnct.inference.observables.thermodynamics import StatePoint, volume
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.first_order import first_order_bound

STRETCH = 1e-3  # relative change of the volume in differences


class ChemicalPotential(NamedTuple):
    """mu in hartree by both routes, and by_density - added as it is at first order: by_density - size_effect
    is comparable.
    """

    addition: Estimate
    virial: Estimate
    size_effect: float


def chemical_potential(
    gases: tuple[ElectronGas, ElectronGas], points: tuple[StatePoint, StatePoint]
) -> ChemicalPotential:
    """gases: N electrons, and one more in the same volume at the same temperature
    (`thermodynamics.with_electrons`).
    """
    gas, more = gases
    same = np.allclose(
        [volume(gas), float(gas.temperature)], [volume(more), float(more.temperature)], rtol=1e-9
    )
    if more.N != gas.N + 1 or more.dim != gas.dim or not same:
        raise ValueError(
            f"Expected {gas.N + 1} electrons in the volume and at the temperature of the {gas.N}; got "
            f"{more.N}, "
            f"volumes {volume(gas):g} and {volume(more):g} a_0^{gas.dim}."
        )
    T = float(gas.temperature)
    addition = [sign * np.array([1, 1, -T]) for sign in (-1, 1)]
    virial = [np.array([1 + 2 / g.dim, 1 + 1 / g.dim, -T]) / (2 * g.N) for g in gases]
    return ChemicalPotential(_sum(addition, points), _sum(virial, points), size_effect(gases))


def size_effect(gases: tuple[ElectronGas, ElectronGas]) -> float:
    """The difference of the routes, the second less the first, in first order of the interaction: hartree."""
    free_energies = [first_order_bound(gas).free_energy for gas in gases]
    virial = []
    for gas, F in zip(gases, free_energies, strict=True):
        larger, smaller = (first_order_bound(_stretched(gas, sign * STRETCH)).free_energy for sign in (1, -1))
        pressure_volume = -(larger - smaller) / (2 * STRETCH)
        virial.append((F + pressure_volume) / gas.N)
    return float(np.mean(virial) - (free_energies[1] - free_energies[0]))


def _stretched(gas, share):
    """The gas in a volume larger by this share, at the same temperature."""
    length = (1 + share) ** (1 / gas.dim)
    return ElectronGas(
        gas.num_electrons, gas.dim, gas.rs * length, gas.theta * length**2, gas.twist, gas.cutoff
    )


def _sum(forms, points):
    value = sum(form @ point.mean for form, point in zip(forms, points, strict=True))
    variance = sum(form @ point.covariance @ form for form, point in zip(forms, points, strict=True))
    return Estimate(float(value), float(np.sqrt(max(variance, 0.0))), float("nan"))
