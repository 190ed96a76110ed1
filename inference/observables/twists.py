r"""Averages over twisted boundary conditions, psi(r + L e_a) = exp(2 pi i twist_a) psi(r), and the finite
size that stays.

    Monkhorst-Pack grid   twist_a = (2 j - q - 1)/(2 q),  j = 1 ... q          Phys. Rev. B 13, 5188 (1976)
    twist averaging       X = mean of X over twists        Lin, Zong, Ceperley, Phys. Rev. E 64, 016702 (2001)
    potential energy      dV/N = (1/2) [ integral - sum over k != 0 ] of v(k) S(k)/Omega
                                                            Chiesa et al., Phys. Rev. Lett. 97, 076404 (2006)

The difference between integral and sum comes from small k, where screening makes S(k) = c k^2 in 3D and c
k^(3/2) in 2D:

    3D:  dV/N = 2 pi c/Omega                  = omega_p/(4 N) for c = 1/(2 omega_p)
    2D:  dV/N = -(pi c/Omega) (2 pi/L)^(1/2) Z,
         Z = sum' |n|^(1/2) over the square lattice, continued = 4 zeta(-1/4) beta(-1/4)
"""

import math
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import gamma, zeta

from pnct.estimate import Estimate
from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.observables.correlations import StructureFactor
from pnct.inference.observables.effective_mass import mass_from_entropy
from pnct.inference.observables.thermodynamics import volume
from pnct.inference.runs.fingerprint import describe
from pnct.inference.training.loop import Options, Workflow, run_steps
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.ideal_gas import ideal_gas


class TwistAverage(NamedTuple):
    """Per electron, hartree and k_B: free_energy, energy, kinetic, potential, entropy at each twist, and
    their averages.
    """

    twists: Float[np.ndarray, "T dim"]
    by_twist: tuple[dict[str, Estimate], ...]
    average: dict[str, Estimate]
    effective_mass_by_twist: tuple[Estimate, ...]  # s/s_0
    effective_mass: Estimate  # of the averaged entropies


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
    """The mean over twists. Of a grid the error is that of the samples; of random twists also that of the
    choice.
    """
    values, errors = (np.array([getattr(e, name) for e in estimates], float) for name in ("value", "error"))
    if not len(values) or (random and len(values) < 2):
        raise ValueError(f"Expected at least {1 + random} twists; got {len(values)}.")
    error = (
        values.std(ddof=1) / math.sqrt(len(values)) if random else math.sqrt(np.sum(errors**2)) / len(values)
    )
    return Estimate(float(values.mean()), float(error), float(sum(e.ess for e in estimates)))


def over_twists(
    key,
    vfe: VariationalFreeEnergy,
    gas,
    twists: Float[np.ndarray, "T dim"],
    num_steps: int,
    num_samples: int,
    random: bool = False,
    progress_bar: bool = True,
    checkpoint: str | Path | None = None,
) -> tuple[dict, TwistAverage]:
    """Trains one set of parameters on the gas at all twists, and averages over them: (parameters, averages).

    twists: of `monkhorst_pack`, or of `random_twists` with random = True, which is what the errors of the
    averages then hold. progress_bar, checkpoint: of the training, as in vfe.run.
    """
    gases = [with_twist(gas, twist) for twist in twists]
    keys = jax.random.split(key)
    params = train_over_twists(keys[0], vfe, gases, num_steps, progress_bar, checkpoint)
    return params, evaluate_over_twists(keys[1], vfe, params, gases, num_samples, random)


def train_over_twists(
    key,
    vfe: VariationalFreeEnergy,
    gases: list,
    num_steps: int,
    progress_bar: bool = True,
    checkpoint: str | Path | None = None,
):
    """One set of parameters for all gases: step i sees gas i modulo their number. Returns the averaged
    parameters.

    The parameters must not depend on the table of orbitals, as those of `pnct.models.twisted_gas`.
    progress_bar, checkpoint: as in vfe.run; the same call made again goes on where it stood.
    """

    updates = [vfe.updates(gas) for gas in gases]

    def update(state):
        return updates[int(state.step) % len(gases)](state)

    start = vfe.init(key, gases[0])
    options = Options(progress_bar, checkpoint)
    workflow = Workflow({"twists": describe(gases)})
    return run_steps(vfe, update, start, num_steps, (gases[0],), options, workflow).params


def evaluate_over_twists(
    key, vfe: VariationalFreeEnergy, params, gases: list, num_samples: int, random: bool = False
) -> TwistAverage:
    """Canonical averages at each twist, num_samples draws of each, and over all of them."""
    by_twist = []
    for i, gas in enumerate(gases):
        draws = vfe.evaluate(jax.random.fold_in(key, i), params, num_samples, gas)
        by_twist.append({name: x.scaled(1 / gas.N) for name, x in draws.estimates().items()})
    average = {name: twist_average([one[name] for one in by_twist], random) for name in by_twist[0]}
    ideal = np.array([ideal_gas(gas).entropy / gas.N for gas in gases])
    effective_mass = tuple(
        mass_from_entropy(gas, one["entropy"].scaled(gas.N)) for gas, one in zip(gases, by_twist, strict=True)
    )
    return TwistAverage(
        np.array([gas.twist for gas in gases]),
        tuple(by_twist),
        average,
        effective_mass,
        average["entropy"].scaled(1 / ideal.mean()),
    )


def potential_size_correction(gas, S: StructureFactor) -> Estimate:
    """What to add to V/N, in hartree, to go from N electrons to infinitely many: from S at its smallest wave
    vectors q != 0.
    """
    q = np.linalg.norm(S.q, axis=1) / float(gas.rs)
    if not np.any(q > 0):
        raise ValueError("Expected S at wave vectors q != 0; got none.")
    smallest = q[q > 0].min()
    shell = np.isclose(q, smallest, rtol=1e-6)
    power = 2.0 if gas.dim == 3 else 1.5
    # one shell: not independent
    c = S.S[shell].mean() / smallest**power
    error = S.error[shell].mean() / smallest**power
    if gas.dim == 3:
        factor = 2 * math.pi / volume(gas)
    else:
        factor = (
            -math.pi
            / volume(gas)
            * math.sqrt(2 * math.pi / (gas.L * float(gas.rs)))
            * square_lattice_sum(-0.25)
        )
    return Estimate(float(c * factor), float(abs(error * factor)), float("nan"))


def square_lattice_sum(s: float) -> float:
    """sum' |n|^(-2 s) over the square lattice, for s < 0 by its functional equation: 4 zeta(s) beta(s)."""
    if s > 1:
        beta = (zeta(s, 0.25) - zeta(s, 0.75)) / 4**s
        return float(4 * zeta(s) * beta)
    if not s < 0:
        raise ValueError(f"Expected s < 0 or s > 1; got {s}.")
    return float(math.pi ** (2 * s - 1) * gamma(1 - s) / gamma(s) * square_lattice_sum(1 - s))
