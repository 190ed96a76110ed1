r"""p(K) with a number of its own for each low state, and the levels of quasi-particles for all others:

    p(K) = q(K) exp(s_K)/Z,  q(K) = exp(-sum_i epsilon_{k_i}/T)/Z_N,  Z = 1 + sum_{listed} q(K) [exp(s_K) - 1]

s_K = 0 for states that are not listed. q is the canonical distribution of the levels with its exact table
(pnct.systems.ideal_gas), so Z is exact. Electrons are drawn one after the other from the exact conditional
distributions, to which all listed states add that begin as K does:

    p(k_i | B) ~ q(k_i | B) + sum_{listed, begins with B, k_i} q(K)/q(B) [exp(s_K) - 1],   B = k_1 ... k_{i-1}

States of interacting electrons that were degenerate without interaction split in an order that their orbitals
do not show, so no smooth function of K has their Boltzmann factors; a table has.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.distributions.occupation import Occupation, allowed_range, inverse_cdf, log_conditionals
from pnct.distributions.shell_energies import ShellEnergies
from pnct.states.configuration_interaction import ConfigurationInteraction
from pnct.systems.ideal_gas import conditional_table, log_partition


class Table(NamedTuple):
    """What all samples share: of each electron the levels e and the conditionals of q; of the listed states
    ln q and s.
    """

    energies: Float[Array, "N M"]
    conditionals: Float[Array, "N M"]
    log_partition: Float[Array, ""]
    log_q: Float[Array, " S"]
    s: Float[Array, " S"]


class TabulatedOccupation(Occupation):
    """p(K) over int32 K, shape (N,), as that of Occupation.

    system: what is simulated.  levels: a module with energy_shifts, one per level, in units of T.
    mixing: a ConfigurationInteraction of the same table of orbitals: the listed states, and their s_K. No
    gradient moves these.
    power: the power to which p is raised, and normalised again; below 1 it is hotter.
    """

    def __init__(
        self,
        system,
        levels: ShellEnergies,
        mixing: ConfigurationInteraction,
        power: Float[ArrayLike, ""] = 1.0,
    ):
        super().__init__(system, levels, power)
        if mixing.states.shape[1] != system.N or mixing.states.max() >= len(system.orbitals):
            raise ValueError(
                f"Expected listed states of {system.N} electrons in {len(system.orbitals)} orbitals; "
                f"got {mixing.states.shape[1]} "
                f"electrons in orbitals up to {mixing.states.max()}."
            )
        self.mixing = mixing

    def tempered(self, power) -> "TabulatedOccupation":
        """p(K)^power, normalised."""
        return TabulatedOccupation(self.system, self.network, self.mixing, self.power * power)

    @property
    def tabulated(self) -> Int[np.ndarray, "S N"]:
        """The listed states."""
        return self.mixing.states

    def log_levels(self) -> Float[Array, " S"]:
        """ln q of the listed states, up to a constant: - sum_i epsilon_{k_i}/T."""
        return -total_energy(self._energies(), jnp.asarray(self.mixing.states))

    def _energies(self):
        shifts = self.network.shell_shifts()
        b = [
            jnp.asarray(b, shifts.dtype) + shifts[self.system.shell_index]
            for b in self.system.reduced_energies
        ]
        return jnp.repeat(
            jnp.stack(b), jnp.asarray(self.system.num_electrons), axis=0, total_repeat_length=self.system.N
        )

    def _table(self) -> Table:
        energies = self.power * self._energies()
        up, _ = self.system.num_electrons
        species = [x for x in (energies[:up], energies[up:]) if len(x)]
        conditionals = jnp.concatenate([conditional_table(x[0], len(x)) for x in species])
        total = sum(log_partition(x[0], len(x)) for x in species)
        s = self.power * jax.lax.stop_gradient(self.mixing.log_weights).astype(energies.dtype)
        return Table(
            energies, conditionals, total, -total_energy(energies, jnp.asarray(self.mixing.states)) - total, s
        )

    def _log_prob_one(self, table, K):
        lowest, last = allowed_range(self.system)
        floor = jnp.where(lowest == 0, -1, jnp.concatenate([jnp.full(1, -1, K.dtype), K[:-1]]))
        valid = jnp.all((floor < K) & (last >= K))
        K = jnp.clip(K, 0, len(self.system.orbitals) - 1)
        s = jnp.sum(jnp.where(jnp.all(jnp.asarray(self.mixing.states) == K, axis=1), table.s, 0))
        log_z = jnp.log1p(jnp.sum(excess(table)))
        return jnp.where(valid, s - total_energy(table.energies, K) - table.log_partition - log_z, -jnp.inf)

    def _sample_one(self, table, key):
        lowest, last = allowed_range(self.system)
        u = jax.random.uniform(key, (self.system.N,), table.s.dtype)
        states = jnp.asarray(self.mixing.states, jnp.int32)
        K = []
        log_begin = 0.0
        begins_alike = jnp.ones(len(states), bool)
        for i in range(self.system.N):
            floor = jnp.full(1, -1) if lowest[i] == 0 else K[-1][None]
            log_q = log_conditionals(table.conditionals[i : i + 1], floor, jnp.asarray(last[i : i + 1]))[0]
            more = jnp.where(begins_alike, excess(table, log_begin), 0)
            p = jnp.exp(log_q).at[states[:, i]].add(more)
            K.append(
                inverse_cdf(jnp.maximum(p, 0), u[i])
            )  # rounding can leave less than nothing of a state that s forbids
            begins_alike &= states[:, i] == K[-1]
            log_begin += log_q[K[-1]]
        return jnp.stack(K)


def excess(table, log_begin=0.0):
    """q(K) [exp(s_K) - 1] of the listed states, over exp(log_begin)."""
    return jnp.exp(table.log_q + table.s - log_begin) - jnp.exp(table.log_q - log_begin)


def total_energy(energies: Float[Array, "N M"], K: Int[ArrayLike, "*batch N"]) -> Float[Array, "*batch"]:
    """sum_i e_{i, k_i}."""
    return sum(energies[i, K[..., i]] for i in range(len(energies)))
