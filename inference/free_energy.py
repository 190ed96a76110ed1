r"""Minimises the variational free energy  F = E_{K ~ p} [ T ln p(K) + E_{R ~ |Psi_K|^2} E_loc(K, R) ] >= -T
ln Z.

Every walker is drawn afresh at every step, ancestrally and exactly, so there is no Markov chain to burn in
and F is an upper bound of the true free energy. The method is the neural canonical transformation (Xie,
Zhang, Wang, arXiv 2105.08644, 2201.03156).
"""

from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from pnct.backend import check_cpu_pool
from pnct.inference.optimisation.gradients import (
    classical_scores,
    gradient,
    quantum_scores,
)
from pnct.inference.optimisation.natural_gradient import as_optax
from pnct.inference.sampling import sites as program
from pnct.inference.sampling.batch import Batching, draw_batch
from pnct.inference.sampling.draws import Draws
from pnct.inference.sampling.parallel import (
    as_arrays,
    checked_key,
    default_chunk_size,
    default_mesh,
    gathered,
    replicated,
)
from pnct.inference.training import failures
from pnct.inference.training.loop import Options, RunResult, run_steps
from pnct.inference.training.model_checks import check_flow, check_hamiltonian
from pnct.inference.training.step import Info, TrainState, apply_update, step_info
from pnct.validation import checked_integer


class VariationalFreeEnergy(eqx.Module):
    """The inference routine for a model with one Born site, under a Hamiltonian.

    model: a NumPyro program of one walker.  hamiltonian: (born, R) -> LocalEnergy, with `temperature` and
    `energy_scale`, hartree.
    optim: an optax or numpyro optimiser; it receives the gradient of F/energy_scale, and `scores` if it asks
    for them.
    num_walkers: independent samples per step.  chunk_size: how many of them are alive at once on a device;
    any integer, by default what is fast.
    sharding: a mesh with one axis named "walkers"; by default all devices.
    """

    model: Callable = eqx.field(static=True)
    hamiltonian: Callable
    optim: optax.GradientTransformationExtraArgs = eqx.field(static=True)
    num_walkers: int = eqx.field(static=True)
    chunk_size: int | None = eqx.field(static=True)
    sharding: Mesh | None = eqx.field(static=True)

    def __init__(self, model, hamiltonian, optim, num_walkers=512, chunk_size=None, sharding=None):
        if not callable(model):
            raise ValueError(f"Expected model to be a function of the system; got {type(model).__name__}.")
        if not callable(hamiltonian) or not hasattr(hamiltonian, "temperature"):
            raise ValueError(
                f"Expected a hamiltonian, as from pnct.hamiltonian(gas); got {type(hamiltonian).__name__}."
            )
        check_cpu_pool()
        self.model, self.hamiltonian, self.optim = model, as_arrays(hamiltonian), as_optax(optim)
        self.num_walkers = checked_integer("num_walkers", num_walkers, 2)
        self.chunk_size = None if chunk_size is None else checked_integer("chunk_size", chunk_size, 1)
        self.sharding = default_mesh() if sharding is None else sharding

    def init(self, key, *args) -> TrainState:
        """The state before the first step. Raises ValueError where the model or the Hamiltonian cannot be
        right.
        """
        init_key, key = jax.random.split(checked_key(key))
        check_hamiltonian(self.hamiltonian, args)
        program.check_observed(self.model, args)
        params = _init_params(self.model, init_key, as_arrays(args))
        sites = program.read_sites(self.model, params, args)
        check_flow(self.model, sites, params, as_arrays(args))
        none = jnp.zeros((), jnp.int32)
        still = jax.tree.map(jnp.zeros_like, params)
        state = TrainState(params, params, self.optim.init(params), key, none, still, none)
        return replicated(state, self.sharding)

    def update(self, state: TrainState, *args) -> tuple[TrainState, Info]:
        """One step: draws num_walkers samples, estimates F and its gradient, and moves the parameters.
        Compiled once.
        """
        return self._update(state, *as_arrays(args))

    @eqx.filter_jit
    def _update(self, state, *args):
        sites = program.read_sites(self.model, state.params, args)
        key, subkey = jax.random.split(state.key)
        batching = self.batching(sites)
        walkers = draw_batch(
            self.model, sites, self.hamiltonian, state.params, args, subkey, batching, scores=True
        )
        temperature = self.hamiltonian.temperature
        unit = self.hamiltonian.energy_scale
        energy = walkers.kinetic + walkers.potential
        log_prob = walkers.log_prob
        stage = failures.first_failures(sites, walkers)
        valid = stage == failures.SOUND
        weight = jnp.where(valid, walkers.weight, 0.0)
        scores = {}
        if sites.classical_params:
            rows = walkers.scores["classical"]
            thermal = temperature / unit
            scores["classical"] = classical_scores(
                rows, log_prob, energy / unit, thermal, weight, sites.num_electrons
            )
        if sites.quantum_params:
            rows = walkers.scores["quantum"]
            scores["quantum"] = quantum_scores(
                rows, log_prob, energy / unit, 1.0 * valid, sites.num_electrons
            )

        grads = jax.tree.map(jnp.zeros_like, state.params)
        for block in scores.values():

            def add(old, new):
                return old + new.astype(old.dtype)

            grads |= {name: jax.tree.map(add, grads[name], g) for name, g in gradient(block).items()}
        updates, opt_state = self.optim.update(grads, state.opt_state, state.params, scores=scores)
        finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(u)) for u in jax.tree.leaves(updates)])) & jnp.any(
            valid
        )
        folded = failures.folded(sites, walkers, stage)
        state, backtracked = apply_update(
            state, updates, opt_state, key, sites.quantum_params, finite, folded
        )
        return gathered(
            (state, step_info(walkers, sites, temperature, stage, backtracked, finite | backtracked)),
            self.sharding,
        )

    def run(
        self,
        key,
        num_steps: int,
        *args,
        init_state: TrainState | None = None,
        progress_bar: bool = True,
        checkpoint: str | Path | None = None,
        callback: Callable[[int, Info], None] | None = None,
    ) -> RunResult:
        """num_steps updates. With init_state the run goes on from there, key unused: 500 + 500 steps == 1000,
        bitwise.

        checkpoint: a directory that keeps the run, see run_directory. The same call made again goes on from
        the last checkpoint there, and with a larger num_steps further; the result is that of one
        uninterrupted run, bitwise. Raises ValueError where the directory holds another run.
        SIGTERM, with a directory, and Ctrl-C raise Interrupted after the step; its `result` is that up to there.
        callback: called as callback(step, info) after each step, step = 1 ... num_steps, info on the host.
        Walkers and updates that are not finite are left out, counted and told by a NumericalWarning; after a
        few updates in a row that were not made, TrainingFailedError.
        """
        num_steps = checked_integer("num_steps", num_steps, 0)
        start = self.init(key, *args) if init_state is None else init_state

        def update(state):
            return self.update(state, *args)

        return run_steps(self, update, start, num_steps, args, Options(progress_bar, checkpoint, callback))

    def evaluate(self, key, params, num_samples: int, *args, standard_error: float | None = None) -> Draws:
        """num_samples fresh independent samples at frozen parameters, as host arrays.

        With standard_error (of the total F, hartree) it stops as soon as that is reached; num_samples is then
        the most it draws.
        """
        num_samples = checked_integer("num_samples", num_samples, 2)
        key = checked_key(key)
        batches = []
        drawn = 0
        while drawn < num_samples:
            batch_key = jax.random.fold_in(key, len(batches))
            batches.append(jax.device_get(self._draw(params, batch_key, *as_arrays(args))))
            drawn += self.num_walkers
            if (
                standard_error is not None
                and _error_of(batches, self.hamiltonian.temperature) <= standard_error
            ):
                break
        sites = program.read_sites(self.model, params, args)
        walker = _concatenate(batches)
        walker = jax.tree.map(lambda x: x[:num_samples], walker)
        failures.warn_of_draws(sites, walker)
        return Draws(
            samples=walker.values,
            log_prob=walker.log_prob,
            kinetic=walker.kinetic,
            potential=walker.potential,
            log_det_jacobian=walker.log_det_jacobian,
            det_sign=walker.det_sign,
            temperature=float(self.hamiltonian.temperature),
            num_electrons=sites.num_electrons,
            born_site=sites.born,
            exact=walker.exact,
            unit=self.unit,
        )

    @eqx.filter_jit
    def _draw(self, params, key, *args):
        sites = program.read_sites(self.model, params, args)
        walkers = draw_batch(self.model, sites, self.hamiltonian, params, args, key, self.batching(sites))
        return gathered(walkers, self.sharding)

    @property
    def unit(self) -> str:
        """Of the energies in Info and Draws."""
        return getattr(self.hamiltonian, "unit", "hartree")

    def batching(self, sites: program.Sites) -> Batching:
        """How the walkers go through the program."""
        chunk_size = self.chunk_size or default_chunk_size(sites.num_electrons)
        return Batching(self.num_walkers, chunk_size, self.sharding)


@eqx.filter_jit
def _init_params(model, key, args):
    return program.init_params(model, key, args)


def _concatenate(batches):
    return jax.tree.map(lambda *x: np.concatenate(x), *batches)


def _error_of(batches, temperature) -> float:
    walker = _concatenate(batches)
    f = temperature * walker.log_prob + (walker.kinetic + walker.potential).real
    return float(np.nanstd(f) / np.sqrt(f.size))
