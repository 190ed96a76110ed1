"""A warning that points at the user's line, however deep in the library it was found."""

import sys
import warnings

LIBRARIES = {
    "pnct",
    "jax",
    "jaxlib",
    "equinox",
    "jaxtyping",
    "beartype",
    "numpyro",
    "contextlib",
    "functools",
}


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """warnings.warn, as if called from the innermost line that is of none of these libraries."""
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in LIBRARIES:
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
