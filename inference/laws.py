"""Reads a model as p(classical) |Psi(R)|^2: which site is the Born law, which are classical, which parameters each law holds.

The laws are found by their kind, never by the name of the system: one Born site, any number of other sample sites before it.
An observed site carries no entropy and no gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from numpyro.handlers import seed, substitute, trace

from pnct.distributions.born import Born
from pnct.distributions.bridge import DistraxSite

Params = dict[str, Any]


class Laws(NamedTuple):
    """The structure of a model. Names of sites and of parameters, as static tuples."""

    born: str  # the site of the electrons
    classical: tuple[str, ...]  # unobserved sites before it: their log probability is the entropy
    observed: tuple[str, ...]
    classical_params: tuple[str, ...]  # parameters that ln p depends on
    quantum_params: tuple[str, ...]  # parameters that ln Psi depends on
    num_electrons: int


class Walker(NamedTuple):
    """One ancestral draw: the values of all unobserved sites, their summed classical log probability, the Born law."""

    values: dict[str, Any]
    log_prob: Any
    born: Born


def sites_of(model: Callable, params: Params, values: dict, args: tuple, key=None) -> dict:
    """The trace of the model with these parameters and values substituted."""
    program = substitute(model, data={**params, **values})
    return trace(program if key is None else seed(program, key)).get_trace(*args)


def init_params(model: Callable, key, args: tuple) -> Params:
    """The initial parameters of every param and module site."""
    sites = trace(seed(model, key)).get_trace(*args)
    return {name: site["value"] for name, site in sites.items() if site["type"] == "param"}


def draw(model: Callable, laws: Laws, params: Params, key, args: tuple) -> Walker:
    """One independent sample of the model, exact and ancestral."""
    sites = sites_of(model, params, {}, args, key)
    values = {name: sites[name]["value"] for name in (*laws.classical, laws.born) if name not in laws.observed}
    return Walker(values, _sum_log_prob(sites, laws.classical), sites[laws.born]["fn"].distribution)


def log_prob(model: Callable, laws: Laws, params: Params, values: dict, args: tuple):
    """ln p of the classical sites at these values."""
    return _sum_log_prob(sites_of(model, params, values, args), laws.classical)


def log_psi(model: Callable, laws: Laws, params: Params, values: dict, args: tuple):
    """ln Psi_K(R), complex."""
    return sites_of(model, params, values, args)[laws.born]["fn"].log_psi(values[laws.born])


def read_laws(model: Callable, params: Params, args: tuple) -> Laws:
    """Traces the model abstractly and classifies its sites. Raises ValueError where it is not a density matrix."""
    sites = {}

    def record(key):
        traced = sites_of(model, params, {}, args, key)
        sites.update({name: (type(_law(s)), s["is_observed"]) for name, s in traced.items() if s["type"] == "sample"})
        return {name: traced[name]["value"] for name in sites}

    values = jax.eval_shape(record, jax.random.key(0))
    born = [name for name, (kind, _) in sites.items() if issubclass(kind, Born)]
    if len(born) != 1:
        found = ", ".join(f"{name}: {kind.__name__}" for name, (kind, _) in sites.items()) or "no sample site"
        raise ValueError(f"Expected exactly one Born site in the model; got {len(born)} ({found}).")
    if sites[born[0]][1]:
        raise ValueError(f"Expected an unobserved Born site; got '{born[0]}' conditioned on a value.")
    observed = tuple(name for name, (_, seen) in sites.items() if seen)
    classical = tuple(name for name in sites if name != born[0] and name not in observed)
    laws = Laws(born[0], classical, observed, (), (), values[born[0]].shape[0])
    values = {name: jnp.zeros(v.shape, v.dtype) for name, v in values.items() if name not in observed}
    return laws._replace(
        classical_params=_dependencies(lambda p: log_prob(model, laws, p, values, args), params),
        quantum_params=_dependencies(lambda p: log_psi(model, laws, p, values, args), params),
    )


def check_observed(model: Callable, args: tuple) -> None:
    """Lets the law of every observed site look at its value, where it has a `check`. Raises its ValueError, naming the site."""
    found = {}

    def record(key):
        found.update(trace(seed(model, key)).get_trace(*args))

    jax.eval_shape(record, jax.random.key(0))
    for name, site in found.items():
        if site["type"] == "sample" and site["is_observed"] and hasattr(_law(site), "check"):
            try:
                _law(site).check(site["value"])
            except ValueError as error:
                raise ValueError(f"At the conditioned site '{name}': {error}") from None


def _law(site):
    return site["fn"].distribution if isinstance(site["fn"], DistraxSite) else site["fn"]


def _sum_log_prob(sites, names):
    return sum((jnp.sum(sites[name]["fn"].log_prob(sites[name]["value"])) for name in names), start=jnp.zeros(()))


def _dependencies(f: Callable, params: Params) -> tuple[str, ...]:
    """The names of the parameters that f's value depends on, read off its jaxpr."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    program = jax.make_jaxpr(f)(params).jaxpr
    reached = {var: {path[0].key} for var, (path, _) in zip(program.invars, leaves, strict=True)}
    for equation in program.eqns:
        names = set().union(*(reached.get(v, set()) for v in equation.invars if not isinstance(v, Literal)))
        reached.update({v: names for v in equation.outvars})
    result = set().union(*(reached.get(v, set()) for v in program.outvars if not isinstance(v, Literal)))
    return tuple(name for name in params if name in result)
