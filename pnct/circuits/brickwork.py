r"""One general gate on each site, then `depth` rounds of one general gate on each bond:

    U = prod_rounds prod_bonds G_ij  prod_i G_i

A gate is the Cayley transform of a Hermitian sum of the Pauli strings on its sites,

    G = (1 + i A)^-1 (1 - i A),   A = (1/2) sum_a theta_a P_a,   theta_a = 0 and G = 1 at first,

unitary for all theta; up to a phase every gate is of this form. The bonds of a round are taken in groups
without a common site. Depth 0 is mean field: a product unitary.

Derivatives go backwards through the circuit, undoing one gate after the other, so that no state vector of an
earlier round is kept (the adjoint method: Luo, Liu, Zhang, Wang, Quantum 4, 341 (2020)). Variational density
matrices of this form: Liu, Mao, Zhang, Wang, arXiv 1912.11381.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from pnct.circuits.base import Circuit, check_size, product_state
from pnct.systems.lattices import Lattice
from pnct.systems.pauli import MATRICES
from pnct.validation import checked_integer

Bonds = tuple[tuple[int, int], ...]


class Brickwork(Circuit):
    """The gates of the sites and those of the bonds, round by round. bonds: in the order of a round."""

    of_sites: Float[Array, "N 3"]
    of_bonds: Float[Array, "depth B 15"]
    bonds: Bonds = eqx.field(static=True)
    num_sites: int = eqx.field(static=True)

    def __call__(self, spins: Complex[Array, "N 2"]) -> Complex[Array, " n"]:
        turned = jnp.einsum("iab,ib->ia", gates(self.of_sites), spins)
        if not (self.bonds and len(self.of_bonds)):
            return product_state(turned)
        return evolve(self.bonds, gates(self.of_bonds), product_state(turned))


def brickwork(lattice: Lattice, depth: int) -> Callable[[Array], Brickwork]:
    """A function key -> Brickwork on the bonds of the lattice, the identity at first.

    Raises ValueError for depth < 0 and for more sites than a state vector can have.
    """
    depth = checked_integer("depth", depth, 0)
    check_size(lattice)
    bonds = in_groups(lattice.bonds)

    def make(key: Array) -> Brickwork:
        del key
        sites = jnp.zeros((lattice.num_sites, 3))
        return Brickwork(sites, jnp.zeros((depth, len(bonds), 15)), bonds, lattice.num_sites)

    return make


def in_groups(bonds: Iterable[tuple[int, int]]) -> Bonds:
    """The same bonds, those first that have no site in common, and so on."""
    rest = list(bonds)
    ordered = []
    while rest:
        taken = set()
        group = []
        for bond in rest:
            if not taken & set(bond):
                group.append(bond)
                taken |= set(bond)
        ordered += group
        rest = [bond for bond in rest if bond not in group]
    return tuple(ordered)


def gates(theta: Float[Array, "*layers P"]) -> Complex[Array, "*layers d d"]:
    """The Cayley transforms, for the P = d^2 - 1 Pauli strings on one or two sites."""
    generators = _strings(round(np.log2(theta.shape[-1] + 1) / 2))
    complex_dtype = jnp.result_type(theta.dtype, jnp.complex64)
    A = 0.5 * jnp.tensordot(theta.astype(complex_dtype), jnp.asarray(generators, complex_dtype), 1)
    one = jnp.eye(A.shape[-1], dtype=A.dtype)
    return jnp.linalg.solve(one + 1j * A, one - 1j * A)


def _strings(n: int) -> Complex[np.ndarray, "P d d"]:
    """All Pauli strings on n sites but the identity."""
    found = []
    for letters in product(MATRICES, repeat=n):
        matrix = np.ones((1, 1))
        for letter in letters:
            matrix = np.kron(matrix, MATRICES[letter])
        found.append(matrix)
    return np.array(found[1:], complex)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def evolve(
    bonds: Bonds, gates: Complex[Array, "depth B 4 4"], psi: Complex[Array, " n"]
) -> Complex[Array, " n"]:
    """psi after all rounds of gates on these bonds."""

    def one_round(psi, gates):
        for bond, gate in zip(bonds, gates, strict=True):
            psi = apply(gate, psi, bond)
        return psi, None

    return jax.lax.scan(one_round, psi, gates)[0]


def _forward(bonds, gates, psi):
    psi = evolve(bonds, gates, psi)
    return psi, (gates, psi)


def _backward(bonds, kept, cotangent):
    gates, psi = kept

    def one_round(state, gates):
        psi, cotangent = state
        of_gates = []
        for bond, gate in reversed(list(zip(bonds, gates, strict=True))):
            psi = apply(gate.conj().T, psi, bond)
            of_gates.append(_outer(cotangent, psi, bond))
            cotangent = apply(gate.T, cotangent, bond)
        return (psi, cotangent), jnp.stack(of_gates[::-1])

    (_, cotangent), of_gates = jax.lax.scan(one_round, (psi, cotangent), gates, reverse=True)
    return of_gates, cotangent


evolve.defvjp(_forward, _backward)


def apply(
    gate: Complex[Array, "4 4"], psi: Complex[Array, " n"], bond: tuple[int, int]
) -> Complex[Array, " n"]:
    """psi after a gate on two sites i < j."""
    moved = jnp.einsum("abcd,xcydz->xaybz", gate.reshape(2, 2, 2, 2), _with_axes(psi, bond))
    return moved.reshape(psi.shape)


def _outer(cotangent, psi, bond):
    """d/d gate of cotangent . gate psi."""
    found = jnp.einsum("xaybz,xcydz->abcd", _with_axes(cotangent, bond), _with_axes(psi, bond))
    return found.reshape(4, 4)


def _with_axes(psi, bond):
    i, j = bond
    return psi.reshape(2**i, 2, 2 ** (j - i - 1), 2, -1)
