r"""Parameters with a constraint, as NumPyro has it:  pnct.param("s", 1.0, constraint=constraints.positive)

    s = T(u),    T = numpyro.distributions.biject_to(constraint),    u any real numbers

Parameters are s wherever they are seen: in states, results, files, and where they are given to a model.
Within a training step alone they are u, and the model is one of u: scores, gradients, updates, the mean over
the last steps and what is taken back of an update are those of u.
"""

from collections.abc import Callable
from typing import Any

from numpyro.distributions import biject_to, constraints
from numpyro.primitives import Messenger

Transforms = dict[str, Callable]


class given_unconstrained(Messenger):
    """A handler: parameters with a constraint are given as u, and reach the model as T(u)."""

    def postprocess_message(self, msg):
        if msg["type"] == "param" and is_constrained(msg):
            msg["value"] = transform(msg)(msg["value"])


def is_constrained(site: dict) -> bool:
    """Whether a traced parameter has a constraint."""
    return site["kwargs"].get("constraint", constraints.real) is not constraints.real


def transform(site: dict) -> Callable:
    """T of a traced parameter. Raises ValueError where there is none."""
    constraint = site["kwargs"]["constraint"]
    try:
        return biject_to(constraint)
    except NotImplementedError:
        raise ValueError(
            f"Expected the constraint of parameter '{site['name']}' to be one of real numbers that a smooth "
            f"map leads to, such as constraints.positive; got {constraint}."
        ) from None


def to_unconstrained(transforms: Transforms, params: dict[str, Any]) -> dict[str, Any]:
    """u of s, in the precision of s."""
    return params | {name: T.inv(params[name]).astype(params[name].dtype) for name, T in transforms.items()}


def to_constrained(transforms: Transforms, free: dict[str, Any]) -> dict[str, Any]:
    """s of u, in the precision of u."""
    return free | {name: T(free[name]).astype(free[name].dtype) for name, T in transforms.items()}
