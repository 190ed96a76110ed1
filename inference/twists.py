r"""Averages over twisted boundary conditions, psi(r + L e_a) = exp(2 pi i twist_a) psi(r), and the finite size that stays.

    Monkhorst-Pack grid   twist_a = (2 j - q - 1)/(2 q),  j = 1 ... q          Phys. Rev. B 13, 5188 (1976)
    twist averaging       X = mean of X over twists                            Lin, Zong, Ceperley, Phys. Rev. E 64, 016702 (2001)
    potential energy      dV/N = (1/2) [ integral - sum over k != 0 ] of v(k) S(k)/Omega
                                                                               Chiesa et al., Phys. Rev. Lett. 97, 076404 (2006)

The difference between integral and sum comes from small k, where screening makes S(k) = c k^2 in 3D and c k^(3/2) in 2D:

    3D:  dV/N = 2 pi c/Omega                  = omega_p/(4 N) for c = 1/(2 omega_p)
    2D:  dV/N = -(pi c/Omega) (2 pi/L)^(1/2) Z,   Z = sum' |n|^(1/2) over the square lattice, continued = 4 zeta(-1/4) beta(-1/4)
"""

import math

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import gamma, zeta

from pnct.estimate import Estimate
from pnct.inference.observables import StructureFactor
from pnct.inference.thermodynamics import volume
from pnct.system import ElectronGas


def monkhorst_pack(points: int, dim: int) -> Float[np.ndarray, "T dim"]:
    """A grid of points^dim twists in units of 2 pi/L, between -1/2 and 1/2, symmetric about zero."""
    if points < 1 or dim not in (2, 3):
        raise ValueError(f"Expected points >= 1 and dim = 2 or 3; got {points}, {dim}.")
    axis = (2 * np.arange(1, points + 1) - points - 1) / (2 * points)
    return np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)


def random_twists(key, num_twists: int, dim: int) -> Float[np.ndarray, "T dim"]:
    """Independent uniform twists between -1/2 and 1/2."""
    return np.asarray(jax.random.uniform(key, (num_twists, dim), minval=-0.5, maxval=0.5), float)


def with_twist(gas, twist) -> ElectronGas:
    """The same gas at another twist, with that twist's own default cutoff."""
    return ElectronGas(gas.num_electrons, gas.dim, float(gas.rs), float(gas.theta), twist)


def twist_average(estimates: list[Estimate], random: bool = False) -> Estimate:
    """The mean over twists. Of a grid the error is that of the samples; of random twists also that of the choice."""
    values, errors = (np.array([getattr(e, name) for e in estimates], float) for name in ("value", "error"))
    if not len(values) or (random and len(values) < 2):
        raise ValueError(f"Expected at least {1 + random} twists; got {len(values)}.")
    error = values.std(ddof=1) / math.sqrt(len(values)) if random else math.sqrt(np.sum(errors**2)) / len(values)
    return Estimate(float(values.mean()), float(error), float(sum(e.ess for e in estimates)))


def train_over_twists(key, vfe, gases: list, num_steps: int):
    """One set of parameters for all gases: step i sees gas i modulo their number. Returns the averaged parameters.

    The parameters must not depend on the table of orbitals: p(K) has the exact table of each twist, without a network.
    """
    state = vfe.init(key, gases[0])
    for step in range(num_steps):
        state, _ = vfe.update(state, gases[step % len(gases)])
    return state.average


def potential_size_correction(gas, S: StructureFactor) -> Estimate:
    """What to add to V/N, in hartree, to go from N electrons to infinitely many: from S at its smallest wave vectors q != 0."""
    q = np.linalg.norm(S.q, axis=1) / float(gas.rs)
    if not np.any(q > 0):
        raise ValueError("Expected S at wave vectors q != 0; got none.")
    smallest = q[q > 0].min()
    shell = np.isclose(q, smallest, rtol=1e-6)
    power = 2.0 if gas.dim == 3 else 1.5
    c, error = S.S[shell].mean() / smallest**power, S.error[shell].mean() / smallest**power  # one shell: not independent
    if gas.dim == 3:
        factor = 2 * math.pi / volume(gas)
    else:
        factor = -math.pi / volume(gas) * math.sqrt(2 * math.pi / (gas.L * float(gas.rs))) * square_lattice_sum(-0.25)
    return Estimate(float(c * factor), float(abs(error * factor)), float("nan"))


def square_lattice_sum(s: float) -> float:
    """sum' |n|^(-2 s) over the square lattice, for s < 0 by its functional equation: 4 zeta(s) beta(s)."""
    if s > 1:
        beta = (zeta(s, 0.25) - zeta(s, 0.75)) / 4**s
        return float(4 * zeta(s) * beta)
    if not s < 0:
        raise ValueError(f"Expected s < 0 or s > 1; got {s}.")
    return float(math.pi ** (2 * s - 1) * gamma(1 - s) / gamma(s) * square_lattice_sum(1 - s))
