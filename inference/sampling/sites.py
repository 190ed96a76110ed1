"""Reads a model as p(classical) |Psi(R)|^2: which site is the Born law, which are classical, which parameters
each law holds.

The laws are found by their kind, never by the name of the system: one Born site, any number of other sample
sites before it. An observed site carries no entropy and no gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from numpyro.handlers import seed, substitute, trace
from numpyro.primitives import Messenger

from pnct.distributions.born import Born
from pnct.distributions.bridge import DistraxSite
from pnct.flows.inverse import Inversion

Params = dict[str, Any]


class tempered(Messenger):
    """A handler: classical laws that know a broader form of themselves (`tempered`) take it; others stay as
    they are.
    """

    def __init__(self, fn: Callable, power):
        super().__init__(fn)
        self.power = power

    def process_message(self, msg):
        if msg["type"] == "sample" and not msg["is_observed"] and hasattr(distribution(msg), "tempered"):
            msg["fn"] = DistraxSite(distribution(msg).tempered(self.power))


class Sites(NamedTuple):
    """The structure of a model. Names of sites and of parameters, as static tuples."""

    born: str  # the site of the electrons
    classical: tuple[str, ...]  # unobserved sites before it: their log probability is the entropy
    observed: tuple[str, ...]
    classical_params: tuple[str, ...]  # parameters that ln p has a gradient by
    quantum_params: tuple[str, ...]  # parameters that ln Psi has a gradient by
    shape: tuple[int, int]  # of the electrons

    @property
    def num_electrons(self) -> int:
        return self.shape[0]


def trace_sites(model: Callable, params: Params, values: dict, args: tuple, key=None) -> dict:
    """The trace of the model with these parameters and values substituted."""
    program = substitute(model, data={**params, **values})
    return trace(program if key is None else seed(program, key)).get_trace(*args)


def init_params(model: Callable, key, args: tuple) -> Params:
    """The initial parameters of every param and module site."""
    traced = trace(seed(model, key)).get_trace(*args)
    return {name: site["value"] for name, site in traced.items() if site["type"] == "param"}


def draw_classical(model: Callable, sites: Sites, params: Params, key, args: tuple) -> dict[str, Any]:
    """One independent sample of the classical sites, exact and ancestral: their values."""
    traced = _sites_before(model, sites, params, {}, args, key)
    return {name: traced[name]["value"] for name in sites.classical}


def draw_electrons(
    model: Callable, sites: Sites, params: Params, values: dict, key, args: tuple
) -> tuple[Born, Inversion]:
    """The Born law at these classical values, and one independent exact sample R of it. The key is not that
    of the values.
    """
    site = trace_sites(model, params, values, args, key)[sites.born]
    born = site["fn"].distribution
    return born, born.draw(site["kwargs"]["rng_key"])


def log_prob(model: Callable, sites: Sites, params: Params, values: dict, args: tuple):
    """ln p of the classical sites at these values."""
    return _sum_log_prob(_sites_before(model, sites, params, values, args), sites.classical)


def log_psi(model: Callable, sites: Sites, params: Params, values: dict, args: tuple):
    """ln Psi_K(R), complex."""
    return trace_sites(model, params, values, args)[sites.born]["fn"].log_psi(values[sites.born])


def read_sites(model: Callable, params: Params, args: tuple) -> Sites:
    """Traces the model abstractly and classifies its sites. Raises ValueError where it is not a density
    matrix.
    """
    kinds = {}

    def record(key):
        traced = trace_sites(model, params, {}, args, key)
        kinds.update(
            {
                name: (type(distribution(s)), s["is_observed"])
                for name, s in traced.items()
                if s["type"] == "sample"
            }
        )
        return {name: traced[name]["value"] for name in kinds}

    values = jax.eval_shape(record, jax.random.key(0))
    born = [name for name, (kind, _) in kinds.items() if issubclass(kind, Born)]
    if len(born) != 1:
        found = ", ".join(f"{name}: {kind.__name__}" for name, (kind, _) in kinds.items()) or "no sample site"
        raise ValueError(f"Expected exactly one Born site in the model; got {len(born)} ({found}).")
    if kinds[born[0]][1]:
        raise ValueError(f"Expected an unobserved Born site; got '{born[0]}' conditioned on a value.")
    later = list(kinds)[list(kinds).index(born[0]) + 1 :]
    if later:
        raise ValueError(
            f"Expected every sample site of the model before the Born site '{born[0]}'; got '{later[0]}' after it."
        )
    observed = tuple(name for name, (_, seen) in kinds.items() if seen)
    classical = tuple(name for name in kinds if name != born[0] and name not in observed)
    sites = Sites(born[0], classical, observed, (), (), values[born[0]].shape)
    values = {name: jnp.zeros(v.shape, v.dtype) for name, v in values.items() if name not in observed}
    return sites._replace(
        classical_params=_dependencies(lambda p: log_prob(model, sites, p, values, args), params),
        quantum_params=_dependencies(lambda p: log_psi(model, sites, p, values, args), params),
    )


def check_observed(model: Callable, args: tuple) -> None:
    """Lets the law of every observed site look at its value, where it has a `check`. Raises its ValueError,
    naming the site.
    """

    def look(key):
        for name, site in trace(seed(model, key)).get_trace(*args).items():
            if site["type"] == "sample" and site["is_observed"] and hasattr(distribution(site), "check"):
                try:
                    distribution(site).check(site["value"])
                except ValueError as error:
                    raise ValueError(f"At the conditioned site '{name}': {error}") from None

    jax.eval_shape(look, jax.random.key(0))


def distribution(site: dict):
    """The law of a traced sample site."""
    return site["fn"].distribution if isinstance(site["fn"], DistraxSite) else site["fn"]


def trace_at_zero(model: Callable, sites: Sites, params: Params, site: str, args: tuple) -> dict:
    """The trace of the model where that classical site, shape (N,), and the electrons are zero."""
    return trace_sites(
        model, params, {site: jnp.zeros(sites.num_electrons, int), sites.born: jnp.zeros(sites.shape)}, args
    )


def _sites_before(model, sites, params, values, args, key=None):
    # Electrons that are given are not drawn; no site before them depends on where they are.
    return trace_sites(model, params, {sites.born: jnp.zeros(sites.shape)} | values, args, key)


def _sum_log_prob(traced, names):
    return sum(
        (jnp.sum(traced[name]["fn"].log_prob(traced[name]["value"])) for name in names), start=jnp.zeros(())
    )


def _dependencies(f: Callable, params: Params) -> tuple[str, ...]:
    """The names of the parameters that f depends on but for stop_gradient, read off its jaxpr."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    program = jax.make_jaxpr(f)(params).jaxpr
    reached = {var: {path[0].key} for var, (path, _) in zip(program.invars, leaves, strict=True)}
    for equation in program.eqns:
        if equation.primitive.name == "stop_gradient":
            continue
        names = set().union(*(reached.get(v, set()) for v in equation.invars if not isinstance(v, Literal)))
        reached.update({v: names for v in equation.outvars})
    result = set().union(*(reached.get(v, set()) for v in program.outvars if not isinstance(v, Literal)))
    return tuple(name for name in params if name in result)
