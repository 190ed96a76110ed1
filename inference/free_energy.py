r"""Minimises  F = E_{K ~ p} [ T ln p(K) + E_{R ~ |Psi_K|^2} E_loc(K, R) ] >= -T ln Z  over its parameters.

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
from pnct.compilation import RUN_ONCE, compile_ahead, in_background, zeros
from pnct.hamiltonian import Hamiltonian
from pnct.inference.optimisation.natural_gradient import as_optax
from pnct.inference.runs.launch import connect
from pnct.inference.sampling.batch import Batching, WalkerBatch, draw_batch
from pnct.inference.sampling.draws import Draws
from pnct.inference.sampling.inputs import checked_key
from pnct.inference.sampling.local_energy import hamiltonian_of
from pnct.inference.sampling.parallel import (
    as_arrays,
    default_chunk_size,
    default_mesh,
    gathered,
    replicated,
)
from pnct.inference.sampling.sites import Params, Sites, init_params, read_sites
from pnct.inference.training.failures import warn_of_draws
from pnct.inference.training.loop import Options, RunResult, in_precision, run_steps
from pnct.inference.training.memory_estimate import check_step_fits
from pnct.inference.training.model_checks import (
    check_hamiltonian,
    check_observed,
    check_that_sites_matter,
    measured_check,
    potential_check,
    unconstrained_params,
)
from pnct.inference.training.step import Info, TrainState, checked_state, training_step
from pnct.validation import checked_integer


class VariationalFreeEnergy(eqx.Module):
    """The inference routine for a model with one measured site, under a Hamiltonian.

    model: a NumPyro program of one walker.
    hamiltonian: a pnct.hamiltonian.Hamiltonian, or a function system -> Hamiltonian such as pnct.hamiltonian
    itself, which is then called with the system among the arguments of the model.
    optim: an optax or numpyro optimiser; it receives the gradient of F/energy_scale, and `scores` if it asks
    for them.
    num_walkers: independent samples per step.  chunk_size: how many of them are alive at once on a device;
    any integer, by default what is fast.
    sharding: a mesh with one axis named "walkers"; by default all devices.
    precision: "float32" to train in single precision. Evaluations are in float64 all the same, where
    jax_enable_x64 is set, and so is the linear system of the natural gradient.
    """

    model: Callable = eqx.field(static=True)
    hamiltonian: Callable
    optim: optax.GradientTransformationExtraArgs = eqx.field(static=True)
    num_walkers: int = eqx.field(static=True)
    chunk_size: int | None = eqx.field(static=True)
    sharding: Mesh | None = eqx.field(static=True)
    precision: str | None = eqx.field(static=True)

    def __init__(
        self, model, hamiltonian, optim, num_walkers=512, chunk_size=None, sharding=None, precision=None
    ):
        if not callable(model):
            raise ValueError(f"Expected model to be a function of the system; got {type(model).__name__}.")
        if not callable(hamiltonian):
            raise ValueError(
                "Expected a hamiltonian, as from pnct.hamiltonian(gas), or a function that makes one "
                "of the system; "
                f"got {type(hamiltonian).__name__}."
            )
        if precision not in (None, "float32"):
            raise ValueError(
                f'Expected precision "float32", or None for that of the parameters; got {precision!r}.'
            )
        check_cpu_pool()
        self.model = model
        self.hamiltonian = as_arrays(hamiltonian)
        self.optim = as_optax(optim)
        self.num_walkers = checked_integer("num_walkers", num_walkers, 2)
        self.chunk_size = None if chunk_size is None else checked_integer("chunk_size", chunk_size, 1)
        self.sharding = default_mesh() if sharding is None else sharding
        self.precision = precision

    def init(self, key, *args) -> TrainState:
        """The state before the first step. Raises ValueError where the model or the Hamiltonian cannot be
        right.
        """
        state, checks = self._unchecked_init(key, *args)
        checks()
        return state

    def _unchecked_init(self, key, *args) -> tuple[TrainState, Callable[[], None]]:
        """The state before the first step, and what raises ValueError where there can be none. The latter is
        compiled in the background.
        """
        init_key, key = jax.random.split(checked_key(key))
        hamiltonian = self.hamiltonian_for(args)
        check_observed(self.model, args)
        arrays = as_arrays(args)
        made = in_background(_init_params, self.model, init_key, arrays)
        shapes = eqx.filter_eval_shape(_traced_init_params, self.model, init_key, arrays)
        # The model sees arrays of jax; one transfer, where jnp.asarray would be one for each.
        blank = jax.device_put(zeros(shapes))
        sites = read_sites(self.model, blank, args)
        check_step_fits(sites, blank, self.batching(sites), args)
        check_that_sites_matter(self.model, sites, hamiltonian, blank, arrays)
        params = made()
        free = unconstrained_params(self.model, sites, params, arrays)
        measured = measured_check(self.model, sites, params, arrays)
        potential = potential_check(self.model, sites, hamiltonian, params, arrays)
        connect(self.sharding)
        none = jnp.zeros((), jnp.int32)
        still = jax.device_put(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), free))
        state = TrainState(params, params, self.optim.init(free), key, none, still, none)
        state = state if self.precision is None else in_precision(state, self.precision)

        def checks():
            measured()
            potential()

        return replicated(state, self.sharding), checks

    def update(self, state: TrainState, *args) -> tuple[TrainState, Info]:
        """One step: draws num_walkers samples, estimates F and its gradient, and moves the parameters.
        Compiled once.
        """
        checked_state(state)
        self.hamiltonian_for(args)
        return self._update(state, *as_arrays(args))

    def updates(self, *args) -> Callable[[TrainState], tuple[TrainState, Info]]:
        """`update` at these arguments, which are looked at once."""
        self.hamiltonian_for(args)
        arrays = as_arrays(args)

        def update(state):
            nonlocal begun
            if not begun:
                self._compile_ahead(self._update, state, *arrays)
            begun = True
            return self._update(state, *arrays)

        begun = False
        return update

    def _compile_ahead(self, function, *args):
        if self.sharding is None:  # else the shapes of results do not say where they lie
            compile_ahead(function, *args)

    def _update(self, state, *args):
        sites = read_sites(self.model, state.params, args)
        return training_step(
            self.model, sites, self.hamiltonian, self.optim, self.batching(sites), state, args
        )

    def run(
        self,
        key,
        num_steps: int,
        *args,
        init_state: TrainState | None = None,
        progress_bar: bool | str = True,
        checkpoint: str | Path | None = None,
        callback: Callable[[int, Info], None] | None = None,
    ) -> RunResult:
        """num_steps updates. With init_state the run goes on from there, key unused: 500 + 500 steps == 1000,
        bitwise.

        progress_bar: whether a line says how far it is; a text is what that line begins with.
        checkpoint: a directory that keeps the run, see run_directory. The same call made again goes on from
        the last checkpoint there, and with a larger num_steps further; the result is that of one
        uninterrupted run, bitwise. Raises ValueError where the directory holds another run. SIGTERM, with a
        directory, and Ctrl-C raise Interrupted after the step; its `result` is that up to there.
        callback: called as callback(step, info) after each step, step = 1 ... num_steps, info on the host.
        Walkers and updates that are not finite are left out, counted and reported by a NumericalWarning;
        after a few updates in a row that were not made, TrainingFailedError.
        """
        num_steps = checked_integer("num_steps", num_steps, 0)
        start = self.start(key, *args) if init_state is None else checked_state(init_state)
        update = self.updates(*args)
        return run_steps(self, update, start, num_steps, args, Options(progress_bar, checkpoint, callback))

    def start(self, key, *args) -> TrainState:
        """`init` for what goes on with steps: the step is traced while the checks are compiled."""
        state, checks = self._unchecked_init(key, *args)
        try:
            self._compile_ahead(self._update, state, *as_arrays(args))
        finally:  # what they say of a wrong model comes before what its trace does
            checks()
        return state

    def evaluate(self, key, params: Params, num_samples: int, *args) -> Draws:
        """num_samples fresh independent samples at frozen parameters, as host arrays."""
        num_samples = checked_integer("num_samples", num_samples, 2)
        hamiltonian = self.hamiltonian_for(args)
        key = checked_key(key)
        params = params if self.precision is None else in_precision(params, jnp.result_type(float))
        sites = read_sites(self.model, params, args)
        arrays = as_arrays(args)
        check = potential_check(self.model, sites, hamiltonian, params, arrays)
        try:
            self._compile_ahead(self._draw, params, key, sites, *arrays)
        finally:  # as in `start`
            check()
        connect(self.sharding)
        batches = []
        for i in range(-(-num_samples // self.num_walkers)):
            batch_key = jax.random.fold_in(key, i)
            batches.append(jax.device_get(self._draw(params, batch_key, sites, *arrays)))
        walkers = jax.tree.map(lambda *x: np.concatenate(x)[:num_samples], *batches)
        warn_of_draws(sites, walkers)
        return draws_of(walkers, sites, hamiltonian)

    def _draw(self, params, key, sites, *args):
        batching = self.batching(sites)
        walkers = draw_batch(self.model, sites, self.hamiltonian, params, args, key, batching)
        return walkers if self.sharding is None else _gathered(walkers, self.sharding)

    def hamiltonian_for(self, args: tuple) -> Hamiltonian:
        """The Hamiltonian for these arguments of the model. Raises ValueError where it is that of another
        system.
        """
        hamiltonian = hamiltonian_of(self.hamiltonian, args)
        check_hamiltonian(hamiltonian, args)
        return hamiltonian

    def batching(self, sites: Sites) -> Batching:
        """How the walkers go through the program."""
        chunk_size = self.chunk_size or default_chunk_size(sites.num_particles)
        return Batching(self.num_walkers, chunk_size, self.sharding)


def draws_of(walkers: WalkerBatch, sites: Sites, hamiltonian: Hamiltonian) -> Draws:
    """Walkers of weight 1, host arrays, as draws."""
    return Draws(
        samples=walkers.values,
        log_prob=walkers.log_prob,
        kinetic=walkers.kinetic,
        potential=walkers.potential,
        diagnostics=walkers.diagnostics,
        temperature=float(hamiltonian.temperature),
        measured_site=sites.measured,
        state_site=sites.state[0] if len(sites.state) == 1 else None,
        dims=sites.dims,
        is_exact=walkers.is_exact,
        unit=hamiltonian.unit,
        parts=hamiltonian.parts,
    )


_gathered = eqx.filter_jit(gathered)


_traced_init_params = eqx.filter_jit(init_params)
_init_params = eqx.filter_jit(_traced_init_params, compiler_options=RUN_ONCE)
