"""Every kind of many-body states, with a system for it: the table STATES, whose rows obey the laws of
tests/pnct/states/test_states.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import random

from pnct.orbitals import rotated_orbitals
from pnct.states import (
    SlaterJastrow,
    States,
    as_states,
    configuration_interaction,
    jastrow,
    separated_pair,
    spin_adapted,
)
from pnct.systems import ElectronGas, ElectronSystem, HarmonicTrap, Hydrogen

PROTONS = np.array([[0.1, 0.4, 0.2], [0.9, 0.5, 1.3]])


def rotated(trap):
    """Orbitals rotated by random angles."""
    orbitals = rotated_orbitals(trap.orbitals)(random.key(0))
    angles = 4 * np.random.default_rng(3).normal(size=orbitals.angles.shape)
    return eqx.tree_at(lambda x: x.angles, orbitals, jnp.asarray(angles))


def mixed(base, num_determinants=40):
    """Mixed with random orthogonal matrices."""
    mixing = configuration_interaction(base, num_determinants)(random.key(0))
    coefficients, generator = np.array(mixing.coefficients), np.random.default_rng(0)
    for block in mixing.blocks:
        n = len(block)
        coefficients[mixing.entries[block, :n]] = np.linalg.qr(generator.normal(size=(n, n)))[0]
    return eqx.tree_at(lambda m: m.coefficients, mixing, jnp.asarray(coefficients))(base)


def with_jastrow(gas, size=0.1):
    """With random coefficients."""
    factor = jastrow(gas.space, 2.0)(random.key(0))
    values = size * random.normal(random.key(1), factor.coefficients.shape)
    return SlaterJastrow(gas.orbitals, eqx.tree_at(lambda x: x.coefficients, factor, values))


class Kind(NamedTuple):
    """Its states from a system; one of two electrons, for quadratures, and a larger one."""

    make: Callable[[ElectronSystem], States]
    pair: ElectronSystem
    system: ElectronSystem
    has_images: bool = False  # under the symmetries of a cell


STATES = {
    "determinants": Kind(
        lambda gas: as_states(gas.orbitals),
        ElectronGas((2, 0), 2, twist=0.1, cutoff=2.0),
        ElectronGas((3, 2), 2, cutoff=4.0),
        has_images=True,
    ),
    "determinants in 3D": Kind(
        lambda gas: as_states(gas.orbitals),
        ElectronGas((2, 0), 3, cutoff=1.0),
        ElectronGas((2, 4), 3, twist=0.25, cutoff=3.0),
        has_images=True,
    ),
    "determinants of up electrons": Kind(
        lambda gas: as_states(gas.orbitals),
        ElectronGas((2, 0), 2, cutoff=1.0),
        ElectronGas((5, 0), 2, twist=(0.25, 0.1), cutoff=6.0),
        has_images=True,
    ),
    "determinants of down electrons": Kind(
        lambda gas: as_states(gas.orbitals),
        ElectronGas((0, 2), 2, twist=0.5, cutoff=1.0),
        ElectronGas((0, 3), 3, cutoff=3.0),
        has_images=True,
    ),
    "determinants of a dot": Kind(
        lambda trap: as_states(trap.orbitals), HarmonicTrap((2, 0), cutoff=3), HarmonicTrap((3, 2), cutoff=4)
    ),
    "rotated orbitals in 3D": Kind(
        lambda trap: as_states(rotated(trap)),
        HarmonicTrap((1, 1), cutoff=2, dim=3),
        HarmonicTrap((2, 2), cutoff=3, dim=3),
    ),
    "rotated orbitals": Kind(
        lambda trap: as_states(rotated(trap)), HarmonicTrap((1, 1), cutoff=3), HarmonicTrap((2, 2), cutoff=4)
    ),
    "singlets and triplets": Kind(
        lambda gas: spin_adapted(gas.orbitals),
        ElectronGas((1, 1), 2, twist=0.25, cutoff=2.0),
        ElectronGas((2, 2), 2, twist=0.1, cutoff=3.0),
        has_images=True,
    ),
    "mixed configurations": Kind(
        lambda gas: mixed(gas.orbitals),
        ElectronGas((2, 0), 2, twist=0.25, cutoff=2.0),
        ElectronGas((3, 0), 2, twist=0.25, cutoff=3.0),
    ),
    "mixed singlets and triplets": Kind(
        lambda gas: mixed(spin_adapted(gas.orbitals)),
        ElectronGas((1, 1), 2, twist=0.25, cutoff=2.0),
        ElectronGas((2, 2), 2, twist=0.5, cutoff=3.0),
    ),
    "mixed configurations of a dot": Kind(
        lambda trap: mixed(trap.orbitals), HarmonicTrap((2, 0), cutoff=3), HarmonicTrap((2, 1), cutoff=3)
    ),
    "mixed configurations of rotated orbitals": Kind(
        lambda trap: mixed(rotated(trap)), HarmonicTrap((1, 1), cutoff=2), HarmonicTrap((2, 1), cutoff=3)
    ),
    "mixed pairs": Kind(
        lambda trap: mixed(separated_pair(trap.orbitals)),
        HarmonicTrap((1, 1), cutoff=3),
        HarmonicTrap((1, 1), cutoff=4, dim=3),
    ),
    "Slater-Jastrow": Kind(
        with_jastrow,
        ElectronGas((1, 1), 2, twist=0.25, cutoff=2.0),
        ElectronGas((2, 3), 2, twist=0.1, cutoff=3.0),
    ),
    "Slater-Jastrow without twist": Kind(
        with_jastrow, ElectronGas((1, 1), 2, cutoff=2.0), ElectronGas((2, 3), 3, twist=0.1, cutoff=1.0)
    ),
    "Slater-Jastrow, filled table": Kind(
        with_jastrow,
        ElectronGas((1, 1), 2, cutoff=0.0),
        ElectronGas((2, 3), 2, twist=0.25, cutoff=0.7),
    ),
    "Slater-Jastrow of bands": Kind(
        with_jastrow,
        Hydrogen((1, 1), 2, rs=2.0, cutoff=1.0).given(PROTONS),
        Hydrogen((2, 1), 2, rs=2.0, cutoff=2.0, twist=0.1).given(PROTONS),
    ),
}
