"""Checks of what a user hands over, before anything is traced: an error in one line, "Expected ...; got ..."."""

import numpy as np


def whole(name: str, value, least: int) -> int:
    """The value as an int. Raises ValueError unless it is a whole number >= least."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"Expected {name} to be a whole number >= {least}; got {value!r}.")
    return int(value)
