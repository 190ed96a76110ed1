"""One state after the other along a list of systems, each trained from the parameters of the one before."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from pnct.hamiltonian import hamiltonian
from pnct.inference.free_energy import Info, VariationalFreeEnergy
from pnct.inference.sampling.draws import Draws
from pnct.inference.workflows.rounds import run_in_rounds


class Solution(NamedTuple):
    """A trained system: its parameters, the training history, and draws at those parameters."""

    system: Any
    params: dict[str, Any]
    history: Info
    draws: Draws


def sweep(
    key,
    model: Callable,
    systems: list,
    optim,
    num_steps: int,
    num_samples: int,
    warm_steps: int | None = None,
    num_walkers: int = 256,
    make_hamiltonian: Callable = hamiltonian,
    progress_bar: bool = True,
    checkpoint: Path | None = None,
    rounds: int = 0,
) -> Iterator[Solution]:
    """Solutions in the order of `systems`: num_steps for the first, warm_steps (by default as many) for each
    that follows.

    checkpoint: a directory for the runs, one folder each, with which the same call goes on where it was
    ended.
    rounds: with 1 or more, each training is a `run_in_rounds`, with num_samples draws for each of its steps
    in closed form. The systems must differ in numbers alone (rs and theta, or coupling and beta), at one
    cutoff: then all share their parameters, and one compilation.
    """
    tables = {jax.tree.structure(system) for system in systems}
    if len(tables) != 1:
        raise ValueError(
            "Expected gases that differ in rs and theta alone, with one cutoff; "
            f"got {len(tables)} tables of orbitals."
        )
    params = None
    for i, system in enumerate(systems):
        run_key, draw_key = jax.random.split(jax.random.fold_in(key, i))
        vfe = VariationalFreeEnergy(model, make_hamiltonian(system), optim, num_walkers)
        state = vfe.start(run_key, system)
        steps = num_steps
        if params is not None:
            state = state._replace(params=params, average=params)
            steps = num_steps if warm_steps is None else warm_steps
        directory = None if checkpoint is None else checkpoint / f"{i:03d}"
        settings = {
            "init_state": state,
            "progress_bar": progress_bar and described(system, systems),
            "checkpoint": directory,
        }
        if rounds:
            result = run_in_rounds(vfe, run_key, steps, system, rounds, num_samples, **settings)
        else:
            result = vfe.run(run_key, steps, system, **settings)
        params = result.params
        yield Solution(system, params, result.history, vfe.evaluate(draw_key, params, num_samples, system))


def described(system, systems: list) -> str:
    """The number of electrons, and those numbers by which this system differs from the others."""
    named = {field.name: [getattr(x, field.name) for x in systems] for field in dataclasses.fields(system)}
    varied = [name for name, values in named.items() if any(value != values[0] for value in values)]
    return "  ".join([f"N = {system.N}", *(f"{name} = {getattr(system, name):g}" for name in varied)])
