r"""Averages over twisted boundary conditions, psi(r + L e_a) = exp(2 pi i twist_a) psi(r).

    X = sum_t w_t X_t                                    Lin, Zong, Ceperley, Phys. Rev. E 64, 016702 (2001)

One set of parameters is trained on all twists (twist_grid.py), each seen in proportion to its weight w_t.
p(K) can then go to the optimum of each twist by itself, in closed form (boltzmann_weights.py): a smooth
dispersion cannot follow all levels of one table, and S shows that where F hardly does. The noise dS of that
fit (entropy_error.py) is in the error of S, and T dS in that of E, as F is at its minimum.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Int

from pnct.estimate import Estimate
from pnct.inference.closed_form.boltzmann_weights import (
    MIN_SAMPLES,
    fit_shell_energies,
    own_shell_energies,
)
from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.observables.canonical_mass import canonical_mass
from pnct.inference.observables.effective_mass import mass_from_entropy
from pnct.inference.observables.entropy import entropy
from pnct.inference.observables.entropy_error import entropy_error
from pnct.inference.observables.twist_grid import checked_twists, irreducible_twists
from pnct.inference.runs.fingerprint import describe
from pnct.inference.sampling.sites import Params, read_sites
from pnct.inference.training.loop import Options, Workflow, run_steps
from pnct.inference.training.step import TrainState
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.ideal_gas import ideal_gas
from pnct.validation import checked_integer

SUM = 1e-9  # by how much the sum of the weights may miss 1
STATES = 16  # states without electrons for every sample: they take a small part of its time


class TwistAverage(NamedTuple):
    """Per electron, hartree and k_B: free_energy, energy, kinetic, potential, entropy at each twist, and
    their averages with the weights.
    """

    twists: Float[np.ndarray, "T dim"]
    weights: Float[np.ndarray, " T"]  # their sum is 1
    by_twist: tuple[dict[str, Estimate], ...]
    average: dict[str, Estimate]
    effective_mass_by_twist: tuple[Estimate, ...]  # s/s_0
    effective_mass: Estimate  # of the averaged entropies
    canonical_mass: Estimate  # ideal electrons of this averaged entropy; nan at T = 0
    params_by_twist: tuple[Params, ...]  # others than the shared ones where p(K) is fitted at each


def with_twist(gas, twist) -> ElectronGas:
    """The same gas at another twist, with that twist's own default cutoff."""
    return ElectronGas(gas.num_electrons, gas.dim, float(gas.rs), float(gas.theta), twist)


def twist_average(
    estimates: Sequence[Estimate], weights: Float[ArrayLike, " T"] | None = None, random: bool = False
) -> Estimate:
    """The mean over twists, with weights whose sum is 1; None for equal ones. Of a grid the error is that of
    the samples; of random twists, which have no weights, also that of the choice.
    """
    values, errors = (np.array([getattr(e, name) for e in estimates], float) for name in ("value", "error"))
    weights = _checked_weights(weights, len(values), random)
    if random:
        error = values.std(ddof=1) / math.sqrt(len(values))
    else:
        error = math.sqrt(np.sum((weights * errors) ** 2))
    return Estimate(float(weights @ values), float(error), float(sum(e.ess for e in estimates)))


def over_twists(
    key,
    vfe: VariationalFreeEnergy,
    gas,
    twists: Float[ArrayLike, "T dim"],
    num_steps: int,
    num_samples: int,
    random: bool = False,
    progress_bar: bool = True,
    checkpoint: str | Path | None = None,
    init_params: Params | None = None,
    fit_samples: int = 0,
) -> tuple[Params, TwistAverage]:
    """Trains one set of parameters on the gas at all twists, and averages over them: (parameters, averages).

    twists: of `monkhorst_pack`, of which those that are not equal by symmetry are simulated, with the weights
    of `irreducible_twists`; or of `random_twists` with random = True, which is what the errors of the
    averages then hold. progress_bar, checkpoint, init_params: as in train_over_twists; fit_samples: as in
    evaluate_over_twists.
    """
    twists = checked_twists(twists, gas.dim)
    twists, weights = (twists, None) if random else irreducible_twists(twists)
    gases = [with_twist(gas, twist) for twist in twists]
    _checked_weights(weights, len(gases), random)
    _checked_fit(fit_samples, num_samples, gases)
    keys = jax.random.split(key)

    params = train_over_twists(keys[0], vfe, gases, num_steps, progress_bar, checkpoint, weights, init_params)
    return params, evaluate_over_twists(
        keys[1], vfe, params, gases, num_samples, random, weights, fit_samples
    )


def train_over_twists(
    key,
    vfe: VariationalFreeEnergy,
    gases: Sequence[ElectronGas],
    num_steps: int,
    progress_bar: bool = True,
    checkpoint: str | Path | None = None,
    weights: Float[ArrayLike, " T"] | None = None,
    init_params: Params | None = None,
) -> Params:
    """One set of parameters for all gases, in the turn of `visits`. Returns the averaged parameters.

    The parameters must not depend on the table of orbitals, as those of `pnct.models.twisted_gas`.
    progress_bar, checkpoint: as in vfe.run; the same call made again goes on where it stood.
    weights: of the gases, with a sum of 1; None for equal ones.
    init_params: to begin at in place of those that the model makes, such as the result at another r_s.
    """
    num_steps = checked_integer("num_steps", num_steps, 0)
    weights = _checked_weights(weights, len(gases))
    turn = visits(weights, num_steps)
    start = vfe.init(key, gases[0])
    if init_params is not None:
        start = _started_at(init_params, start)
    updates = [vfe.updates(gas) for gas in gases]

    def update(state):
        return updates[turn[int(state.step)]](state)

    options = Options(progress_bar, checkpoint)
    workflow = Workflow({"twists": describe(list(gases)), "weights": weights.tolist()})
    return run_steps(vfe, update, start, num_steps, (gases[0],), options, workflow).params


def visits(weights: Float[np.ndarray, " T"], num_steps: int) -> Int[np.ndarray, " steps"]:
    """Which twist each step sees: the one that is furthest behind its share w_t of the steps, of equal ones
    the first. With equal weights that is one after the other.
    """
    turn = np.zeros(num_steps, int)
    seen = np.zeros(len(weights))
    for step in range(num_steps):
        # Rounded, so that twists of equal weights are equally far behind.
        turn[step] = np.argmax(np.round((step + 1) * weights - seen, 6))
        seen[turn[step]] += 1
    return turn


def evaluate_over_twists(
    key,
    vfe: VariationalFreeEnergy,
    params: Params,
    gases: Sequence[ElectronGas],
    num_samples: int,
    random: bool = False,
    weights: Float[ArrayLike, " T"] | None = None,
    fit_samples: int = 0,
) -> TwistAverage:
    """Canonical averages at each twist, num_samples draws of each, and over all of them with the weights.

    The entropy is that of 16 states for every draw. weights: with a sum of 1; None for equal ones.
    fit_samples: with 40 or more, p(K) of each twist has shell energies of its own, which start where the
    shared p(K) is, and which `fit_shell_energies` moves with so many further draws; the flow stays. The
    errors of the entropy and of the energy then hold that of the fit. 0: the shared p(K) is kept.
    """
    weights = _checked_weights(weights, len(gases), random)
    _checked_fit(fit_samples, num_samples, gases)
    by_twist = []
    params_by_twist = [own_shell_energies(vfe, params, gas) if fit_samples else params for gas in gases]
    for i, gas in enumerate(gases):
        keys = [jax.random.fold_in(key, i + j * len(gases)) for j in range(3)]
        if fit_samples:
            params_by_twist[i] = fit_shell_energies(vfe, keys[1], params_by_twist[i], fit_samples, gas)
        draws = vfe.evaluate(keys[0], params_by_twist[i], num_samples, gas)
        found = draws.estimates()
        if read_sites(vfe.model, params_by_twist[i], (gas,)).classical:
            states = STATES * num_samples
            found["entropy"] = entropy(vfe.model, keys[2], params_by_twist[i], states, gas)
        if fit_samples:
            noise = entropy_error(gas, draws, found["entropy"], fit_samples).closed_form
            found["entropy"] = _with_noise(found["entropy"], noise)
            found["energy"] = _with_noise(found["energy"], draws.temperature * noise)
        by_twist.append({name: x.scaled(1 / gas.N) for name, x in found.items()})
    average = {
        name: twist_average([one[name] for one in by_twist], None if random else weights, random)
        for name in by_twist[0]
    }
    ideal = weights @ [ideal_gas(gas).entropy / gas.N for gas in gases]
    return TwistAverage(
        np.array([gas.twist for gas in gases]),
        weights,
        tuple(by_twist),
        average,
        tuple(
            mass_from_entropy(gas, one["entropy"].scaled(gas.N))
            for gas, one in zip(gases, by_twist, strict=True)
        ),
        average["entropy"].scaled(1 / ideal),
        _canonical_mass(gases, average["entropy"], weights),
        tuple(params_by_twist),
    )


def _canonical_mass(gases, entropy, weights) -> Estimate:
    if not all(gas.theta > 0 for gas in gases):
        return Estimate(math.nan, math.nan, entropy.ess)
    return canonical_mass(list(gases), entropy.scaled(gases[0].N), weights)


def _with_noise(x: Estimate, noise: float) -> Estimate:
    return x._replace(error=math.hypot(x.error, noise))


def _started_at(params: Params, state: TrainState) -> TrainState:
    """The state before the first step at other parameters, in its precision."""
    made = {name: jax.tree.map(jnp.shape, module) for name, module in state.params.items()}
    if not isinstance(params, dict) or made.keys() != params.keys():
        names = sorted(params) if isinstance(params, dict) else type(params).__name__
        raise ValueError(f"Expected init_params of {sorted(made)}; got {names}.")
    for name, module in params.items():
        if jax.tree.structure(module) != jax.tree.structure(state.params[name]) or (
            jax.tree.map(jnp.shape, module) != made[name]
        ):
            raise ValueError(f"Expected init_params as the model makes them; got another '{name}'.")
    params = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), params, state.params)
    return state._replace(params=params, average=params)


def _checked_weights(weights, number: int, random: bool = False) -> Float[np.ndarray, " T"]:
    """Equal ones for None. Raises ValueError unless they are > 0 and add up to 1, one for each twist."""
    if number < 1 + random:
        raise ValueError(f"Expected at least {1 + random} twists; got {number}.")
    if weights is None:
        return np.full(number, 1 / number)
    if random:
        raise ValueError("Expected no weights of random twists; got some.")
    try:
        weights = np.asarray(weights, float)
    except (TypeError, ValueError):
        raise ValueError(f"Expected one weight for each of {number} twists; got {weights!r}.") from None
    if weights.shape != (number,):
        raise ValueError(f"Expected one weight for each of {number} twists; got shape {weights.shape}.")
    if not (np.all(weights > 0) and abs(weights.sum() - 1) < SUM):
        raise ValueError(f"Expected weights > 0 with a sum of 1; got {weights.tolist()}.")
    return weights


def _checked_fit(fit_samples, num_samples, gases) -> None:
    """Raises ValueError where p(K) cannot be fitted with so many samples, or has no temperature."""
    checked_integer("num_samples", num_samples, 2)
    if checked_integer("fit_samples", fit_samples, 0) == 0:
        return
    if min(fit_samples, num_samples) < MIN_SAMPLES:
        raise ValueError(
            f"Expected fit_samples = 0, or fit_samples and num_samples >= {MIN_SAMPLES}; got {fit_samples} "
            f"and {num_samples}."
        )
    if any(float(gas.theta) == 0 for gas in gases):
        raise ValueError("Expected theta > 0 where p(K) is fitted; got a gas at theta = 0.")
