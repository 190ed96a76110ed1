"""Checks of what a user hands over, before anything is traced: an error in one line, "Expected
...; got ...".
"""

import math
from collections.abc import Callable

import jax
import numpy as np


def checked_integer(name: str, value, least: int) -> int:
    """The value as an int. Raises ValueError unless it is a whole number >= least."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"Expected {name} to be a whole number >= {least}; got {value!r}.")
    return int(value)


def checked_num_electrons(num_electrons) -> tuple[int, int]:
    """(up, down). Raises ValueError unless both are whole numbers >= 0, and not both 0."""
    try:
        up, down = (int(n) for n in num_electrons)
        whole = all(int(n) == n for n in num_electrons)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise ValueError(f"Expected num_electrons = (up, down), two whole numbers; got {num_electrons!r}.")
    if min(up, down) < 0 or up + down == 0:
        raise ValueError(f"Expected num_electrons = (up, down) >= 0 and not both 0; got {num_electrons!r}.")
    return up, down


def checked_number(name: str, x, accept: Callable[[float], bool], expected: str) -> float:
    """x as a float. Raises ValueError unless it is finite and accepted."""
    if isinstance(x, jax.core.Tracer):
        raise ValueError(
            f"Expected {name} to be one number {expected}; got a traced value. Make the system outside of "
            "jit, grad and vmap, and set the number in it: "
            f"eqx.tree_at(lambda system: system.{name}, system, {name})."
        )
    try:
        value = float(x)
    except (TypeError, ValueError):
        raise ValueError(f"Expected {name} to be one number {expected}; got {x!r}.") from None
    if not (math.isfinite(value) and accept(value)):
        raise ValueError(f"Expected {name} {expected}; got {x!r}.")
    return value


def checked_dim(dim) -> int:
    """Raises ValueError unless there are two or three dimensions."""
    if dim not in (2, 3):
        raise ValueError(f"Expected dim = 2 or 3; got {dim!r}.")
    return int(dim)


def check_room(num_orbitals: int, num_electrons: tuple[int, int]) -> None:
    """Raises ValueError unless the table has an orbital for every electron of each species."""
    if num_orbitals < max(num_electrons):
        raise ValueError(
            f"Expected num_orbitals >= num_electrons; got {num_orbitals} < {max(num_electrons)}. Raise "
            "`cutoff`."
        )
