"""Where a walker went wrong:  classical sites,  ln p,  electrons,  kinetic energy,  potential energy,
scores.

A walker with a number that is not finite is left out of every mean, counted and named; nothing is averaged in
silently.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from pnct.user_warning import warn_user

FINITE = -1  # no stage
WARNED = 5  # steps of a run whose faults are reported one by one
STEPS_IN_A_ROW = 5  # without a finite update


class NumericalWarning(RuntimeWarning):
    """Walkers or updates were left out."""


class TrainingFailedError(FloatingPointError):
    """Several updates in a row were not finite. `result`: the RunResult up to there, with the last good
    parameters.
    """

    def __init__(self, message: str, result: Any = None):
        super().__init__(message)
        self.result = result


def stages(sites) -> tuple[str, ...]:
    """The numbers of a walker in the order in which they come to be, in words. sites:
    `sampling.sites.Sites`.
    """
    return (
        *(f"site '{name}'" for name in sites.classical),
        f"ln p of {', '.join(repr(name) for name in sites.classical) or 'nothing'}",
        f"site '{sites.measured}' (no inverse of the flow found)",
        f"the kinetic energy at site '{sites.measured}' (or too few integration steps of a continuous flow)",
        f"the potential energy at site '{sites.measured}'",
        f"the scores at site '{sites.measured}'",
    )


def folded(sites, walkers, stage) -> Bool[Array, ""]:
    """Whether any walker shows that a change of variables is not one-to-one: no inverse, or det J <= 0.

    stage: of first_failures. A continuous classical site without a finite value had no inverse either.
    """
    not_drawn = [i for i, name in enumerate(sites.classical) if name in sites.continuous]
    found = jnp.any((stage == FINITE) & (~walkers.is_exact | walkers.is_folded))
    for place in (*not_drawn, inversion_stage(sites)):
        found |= jnp.any(stage == place)
    return found


def inversion_stage(sites) -> int:
    """The place among the stages of the draw of what is measured."""
    return len(sites.classical) + 1


def first_failures(sites, walkers) -> Int[Array, " B"]:
    """For each walker of a `WalkerBatch` the first stage that is not finite, -1 where all are."""

    def finite(numbers):
        leaves = [
            jnp.all(jnp.isfinite(leaf), axis=tuple(range(1, leaf.ndim))) for leaf in jax.tree.leaves(numbers)
        ]
        return jnp.all(jnp.stack([jnp.ones(len(walkers.log_prob), bool), *leaves]), axis=0)

    in_order = [walkers.values[name] for name in sites.classical]
    in_order += [
        walkers.log_prob,
        walkers.values[sites.measured],
        walkers.kinetic,
        walkers.potential,
        walkers.scores,
    ]
    failed = ~jnp.stack([finite(numbers) for numbers in in_order])
    return jnp.where(jnp.any(failed, axis=0), jnp.argmax(failed, axis=0), FINITE)


def first_failures_or_replaced(sites, walkers, stage) -> tuple[Int[Array, " B"], Bool[Array, " B"]]:
    """The stages of `first_failures` with those of the walkers that come from Metropolis; and which these
    are.
    """
    replaced = (stage == FINITE) & ~walkers.is_exact
    return jnp.where(replaced, inversion_stage(sites), stage), replaced


def describe_step(info, names: tuple[str, ...], num_walkers: int) -> str:
    """What went wrong in one step, in a sentence; empty where nothing did.

    info: Info of host numbers.  names: the stages.
    """
    messages = []
    if info.num_failed or info.num_not_inverted:
        first = describe_walker(
            info.failed_walker, names[int(info.failed_stage)], info.failed_label, info.failed_closeness
        )
        count = _count_failures(info.num_failed, info.num_not_inverted, f"{num_walkers} walkers", "left out")
        messages.append(f"{count}, {first}")
    if info.num_negative_det:
        messages.append(_folds(info.num_negative_det, f"{num_walkers} walkers"))
    if info.backtracked:
        messages.append("half of the last update was taken back")
    if not info.updated:
        messages.append("the update was not finite and not made")
    return "; ".join(messages)


def _count_failures(failed, replaced, all_of_them: str, failing: str) -> str:
    """Failed, and drawn by Metropolis because there was no inverse: how many of each."""
    counts = {failing: int(failed), "drawn by Metropolis": int(replaced)}
    return ", ".join(f"{count} of {all_of_them} {what}" for what, count in counts.items() if count)


def _folds(number, all_of_them: str) -> str:
    return f"det J <= 0 for {int(number)} of {all_of_them}: the flow is not one-to-one there"


def describe_walker(walker, stage: str, label, closeness) -> str:
    """The first failed walker in words."""
    known = (
        f", closeness {float(closeness):.3g} (smallest distance, in the units of R)"
        if np.isfinite(closeness)
        else ""
    )
    return f"first walker {int(walker)} at {stage}, state {np.asarray(label).tolist()}{known}"


def warn_of_draws(sites, walkers) -> None:
    """Warns of failed walkers and of det J <= 0 among draws at frozen parameters, a `WalkerBatch` of host
    arrays.
    """
    total = len(walkers.log_prob)
    stage = np.asarray(first_failures(sites, walkers))
    where, replaced = (np.asarray(x) for x in first_failures_or_replaced(sites, walkers, stage))
    num_folded = int(np.sum(walkers.is_folded))
    messages = []
    if np.any(where != FINITE):
        i = np.flatnonzero(where != FINITE)[0]
        first = describe_walker(i, stages(sites)[where[i]], walkers.label[i], walkers.closeness[i])
        count = _count_failures(np.sum(stage != FINITE), np.sum(replaced), f"{total} samples", "failed")
        messages.append(f"{count}, {first}")
    if num_folded:
        messages.append(_folds(num_folded, f"{total} samples"))
    if messages:
        warn_user(f"Evaluation: {'; '.join(messages)}.", NumericalWarning)


@contextmanager
def failure_reports(names: tuple[str, ...], num_walkers: int) -> Iterator[Callable]:
    """A hook that warns of the first faulty steps of a run one by one, and of the number of the others at its
    end.
    """
    faulty = 0

    def report(step, state, info):
        nonlocal faulty
        fault = describe_step(info, names, num_walkers)
        faulty += bool(fault)
        if fault and faulty <= WARNED:
            warn_user(f"Step {step}: {fault}.", NumericalWarning)

    try:
        yield report
    finally:
        if faulty > WARNED:
            message = f"{faulty - WARNED} more steps left out walkers or updates; the history counts them."
            warn_user(message, NumericalWarning)


@contextmanager
def given_up(infos: list, directory: str | Path | None) -> Iterator[Callable]:
    """A hook that raises TrainingFailedError after STEPS_IN_A_ROW updates that were not made, and after as
    many more. infos: of the steps before.
    """
    skipped = skipped_in_a_row(infos)
    kept = "are in the attribute `result` of this error" if directory is None else f"are kept in {directory}"

    def check(step, state, info):
        nonlocal skipped
        skipped = 0 if info.updated else skipped + 1
        if skipped and skipped % STEPS_IN_A_ROW == 0:
            raise TrainingFailedError(
                f"The last {skipped} updates, up to step {step}, were not finite and not made. "
                f"The last good parameters {kept}."
            )

    yield check


def skipped_in_a_row(infos: list) -> int:
    """The number of steps at the end of a run whose update was not made."""
    return next((count for count, info in enumerate(reversed(infos)) if info.updated), len(infos))
