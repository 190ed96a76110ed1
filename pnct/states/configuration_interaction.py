r"""Configuration mixing:  Phi_n = sum_t U_nt D_t,  an orthogonal U for each set of low determinants of equal
quantum numbers.

A change of coordinates makes the same correlation hole in every state, but it cannot mix determinants.
Interaction does, most of all those that are degenerate: which combinations are eigenstates to lowest order is
fit_shell_energies by it alone. So the lowest determinants of the table, whole levels of the ideal energy, are
sorted into blocks of equal quantum numbers (momentum, angular momentum, parity), outside of which it mixes
nothing, and each block has its U. The n-th of a block's states, from low to high energy, has the name K of
its n-th determinant; determinants beyond the list stand for themselves. Blocks whose momenta a symmetry of
the cell turns into each other share their U, as they share their flow (pnct.flows.irreducible_wedge).

At first U = 1. No gradient moves it: `pnct.inference.diagonalise` sets it to the eigenvectors of H in closed
form, and their eigenvalues give the states the weights that they have in thermal equilibrium
(pnct.distributions.tabulated).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.orbitals.base import Orbitals
from pnct.states.base import DeterminantExpansion, States
from pnct.states.lowest_configurations import lowest_configurations
from pnct.states.slater import as_states
from pnct.states.superposition import Superposition
from pnct.validation import checked_integer


class ConfigurationInteraction(eqx.Module):
    """base -> CIStates. S listed determinants, in blocks of up to t.

    coefficients: (P,) the entries of all U, one after the other, row after row.
    states: (S, N) the determinants, from low to high energy.
    partners: (S, t) those of the block of each, in their order; places beyond the block's end name the
    determinant itself.
    entries: (S, t) where the row of each stands in `coefficients`; P beyond the end.
    signs: (S, t) with which it is to be taken from there.
    log_weights: (S,) the s_K by which ln p(K) of each state is more than its levels say, up to a constant;
    zero at first.
    """

    coefficients: Float[Array, " P"]
    log_weights: Float[Array, " S"]
    states: Int[np.ndarray, "S N"]
    partners: Int[np.ndarray, "S t"]
    entries: Int[np.ndarray, "S t"]
    signs: Float[np.ndarray, "S t"]

    def __call__(self, base: Orbitals | States) -> "CIStates":
        """The mixed states of `base`, a table of orbitals or states made of its determinants, of the same
        order as the one listed.
        """
        constant = eqx.tree_at(
            lambda mixing: mixing.coefficients, self, jax.lax.stop_gradient(self.coefficients)
        )
        return CIStates(expansion(base), constant)

    @property
    def blocks(self) -> list[Int[np.ndarray, " n"]]:
        """The rows in `states` of each block."""
        full = self.entries < len(self.coefficients)
        rows = {tuple(partners[row]) for partners, row in zip(self.partners, full, strict=True)}
        return [np.array(row) for row in sorted(rows)]


class CIStates(Superposition):
    """The states of `mixing`, made of those of `base`."""

    base: DeterminantExpansion
    mixing: ConfigurationInteraction

    @property
    def orbitals(self) -> Orbitals:
        """Those of the base."""
        return self.base.orbitals

    @property
    def symmetries(self) -> tuple:
        """Those of the base."""
        return self.base.symmetries

    def quantum_numbers(self, K: Int[ArrayLike, " N"]) -> Float[Array, " q"]:
        """Those of the base: all of a block have the same."""
        return self.base.quantum_numbers(K)

    def determinants(self, K: Int[ArrayLike, " N"]) -> tuple[Float[Array, " T"], Int[Array, "T N"]]:
        """The coefficients and the orbitals, T = t times the number of determinants in each state of the
        base.
        """
        K = jnp.asarray(K)
        mixing = self.mixing
        same = jnp.all(jnp.asarray(mixing.states) == K, axis=1)
        listed = jnp.any(same)
        row = jnp.argmax(same)
        Ks = jnp.where(listed, jnp.asarray(mixing.states)[jnp.asarray(mixing.partners)[row]], K)
        U = jnp.append(mixing.coefficients, 0)
        alone = jnp.zeros(len(Ks), U.dtype).at[0].set(1)
        c = jnp.where(
            listed, jnp.asarray(mixing.signs, U.dtype)[row] * U[jnp.asarray(mixing.entries)[row]], alone
        )
        each, determinants = jax.vmap(self.base.determinants)(Ks)
        return (c[:, None] * each.astype(c.dtype)).ravel(), determinants.reshape(-1, len(K))


def configuration_interaction(
    base: Orbitals | States, num_determinants: int = 128
) -> Callable[[Array], ConfigurationInteraction]:
    """A function key -> ConfigurationInteraction for `base`, unmixed at first.

    base: a table of orbitals (PlaneWaves, Oscillators), or a DeterminantExpansion (SpinAdapted).
    num_determinants: how many determinants are listed at least; the level of the last one is listed as a
    whole. Raises ValueError unless num_determinants is a positive whole number, and for other states.
    """
    num_determinants = checked_integer("num_determinants", num_determinants, 1)
    base = expansion(base)
    table = base.orbitals
    states = lowest_configurations(
        tuple(np.asarray(table.energies, float).tolist()), table.space.num_electrons, num_determinants
    )
    with jax.ensure_compile_time_eval():
        Q = np.asarray(jax.vmap(base.quantum_numbers)(jnp.asarray(states)), float) * table.space.L
    _, sector = np.unique(np.round(Q, 3), axis=0, return_inverse=True)
    blocks = [np.nonzero(sector.ravel() == q)[0] for q in range(sector.max() + 1)]
    alike = images(base, states, blocks)
    sizes = np.array([len(rows) if own == q else 0 for q, (own, rows, _) in enumerate(alike)])

    P = int(np.sum(sizes**2))
    ends = np.cumsum(sizes**2)
    partners = np.tile(np.arange(len(states))[:, None], max(len(block) for block in blocks))
    entries = np.full(partners.shape, P)
    signs = np.ones(partners.shape)
    for own, block, sign in alike:
        n = len(block)
        partners[block, :n] = block
        entries[block, :n] = ends[own] - n**2 + np.arange(n**2).reshape(n, n)
        signs[block, :n] = np.outer(sign, sign)

    def make(key: Array) -> ConfigurationInteraction:
        unmixed = jnp.concatenate([jnp.eye(n).ravel() for n in sizes])
        return ConfigurationInteraction(unmixed, jnp.zeros(len(states)), states, partners, entries, signs)

    return make


def expansion(base: Orbitals | States) -> DeterminantExpansion:
    """The states of `base`. Raises ValueError unless they are sums of determinants."""
    states = as_states(base)
    if not isinstance(states, DeterminantExpansion):
        raise ValueError(f"Expected states that are sums of determinants; got {type(states).__name__}.")
    return states


def images(
    base: DeterminantExpansion, states: Int[np.ndarray, "S N"], blocks: list
) -> list[tuple[int, Int[np.ndarray, " n"], Float[np.ndarray, " n"]]]:
    """For each block the number of the one that it is an image of, or its own; its rows in that one's order;
    and signs s_t:

    D_t(R) = s_t D_t'(g R) of the determinants of the two blocks, g the symmetry that orders the momentum.
    """
    whole = [(q, block, np.ones(len(block))) for q, block in enumerate(blocks)]
    order = base.orbitals.wedge_map()
    if order is None:
        return whole
    with jax.ensure_compile_time_eval():
        P = jax.vmap(base.orbitals.quantum_numbers)(jnp.asarray(states[[block[0] for block in blocks]]))
        turns = np.asarray(jax.vmap(order)(P))
    row_of = {tuple(K): row for row, K in enumerate(states)}
    block_of = np.zeros(len(states), int)
    for q, block in enumerate(blocks):
        block_of[block] = q
    for q, (block, turn) in enumerate(zip(blocks, turns, strict=True)):
        turned, sign = base.images(states[block], turn)
        rows = np.array([row_of[tuple(K)] for K in turned])
        order = np.argsort(rows)
        whole[q] = int(block_of[rows[0]]), block[order], sign[order]
    return whole
