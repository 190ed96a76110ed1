"""Reads a model as p(classical) |Psi(x)|^2: which site is measured, which are classical, which parameters
each holds.

The sites are found by the kind of their distributions, never by a name: one Measured site, any number of
other sample sites before it. An observed site carries no entropy and no gradient. What depends on what is
read off the program: the sites that the label of the measured state depends on name the state, and the others
are variables beside it.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from numpyro.handlers import seed, substitute, trace
from numpyro.primitives import Messenger

from pnct.distributions.base import Measured, StateDistribution
from pnct.distributions.bridge import DistraxSite
from pnct.inference.sampling.dependencies import dependencies
from pnct.inference.sampling.inputs import check_params, unseeded
from pnct.inference.sampling.parallel import as_arrays
from pnct.inference.sampling.unconstrained import (
    Transforms,
    given_unconstrained,
    is_constrained,
    to_unconstrained,
    transform,
)

Params = dict[str, Any]


class tempered(Messenger):
    """A handler: distributions of states take a broader form of themselves; others stay as they are."""

    def __init__(self, fn: Callable, power):
        super().__init__(fn)
        self.power = power

    def process_message(self, msg):
        if msg["type"] != "sample" or msg["is_observed"]:
            return
        found = distribution(msg)
        if isinstance(found, StateDistribution):
            msg["fn"] = DistraxSite(found.tempered(self.power))


class undrawn(Messenger):
    """A handler: what is measured is zero where it has no value, and not drawn, as nothing of a model comes
    after it. The site has its key nevertheless.
    """

    def process_message(self, msg):
        if msg["type"] == "sample" and msg["value"] is None:
            found = distribution(msg)
            if isinstance(found, Measured):
                msg["value"] = jnp.zeros(found.event_shape, found.dtype)


class Sites(NamedTuple):
    """The structure of a model: names of sites and of parameters, as static tuples."""

    measured: str
    classical: tuple[str, ...]  # unobserved sites before it: their log probability is the entropy
    observed: tuple[str, ...]
    state: tuple[str, ...]  # of the classical sites, those that name the state of the measured one
    continuous: tuple[str, ...]  # of the classical sites, those of real numbers
    classical_params: tuple[str, ...]  # parameters that ln p has a gradient by
    measured_params: tuple[str, ...]  # parameters that ln Psi has a gradient by
    continuous_params: tuple[str, ...]  # parameters that ln p of the continuous sites has a gradient by
    shape: tuple[int, ...]  # of what is measured
    dims: tuple[str, ...]
    constrained: tuple[str, ...]  # parameters with a constraint

    @property
    def num_particles(self) -> int:
        """What energies are counted per: electrons, bits."""
        return self.shape[0]

    def classical_blocks(self) -> dict[str, tuple[str, ...]]:
        """The parameters of ln p in two blocks: those that a continuous site depends on are changes of
        variables, whose steps are bounded by themselves. Without an empty block.
        """
        continuous = tuple(name for name in self.classical_params if name in self.continuous_params)
        others = tuple(name for name in self.classical_params if name not in continuous)
        return {name: x for name, x in (("classical", others), ("continuous", continuous)) if x}


def trace_sites(model: Callable, params: Params, values: dict, args: tuple, key=None) -> dict:
    """The trace of the model with these parameters and values substituted; what is measured is not drawn."""
    program = substitute(unseeded(model), data={**params, **values})
    return trace(undrawn(program if key is None else seed(program, key))).get_trace(*args)


def init_params(model: Callable, key, args: tuple) -> Params:
    """The initial parameters of every param and module site."""
    traced = trace_sites(model, {}, {}, args, key)
    params = {name: site["value"] for name, site in traced.items() if site["type"] == "param"}
    # The weak type of a Python number would be gone after one step, which would then be compiled again.
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, jnp.result_type(x)), params)


def draw_classical(model: Callable, sites: Sites, params: Params, key, args: tuple) -> dict[str, Any]:
    """One independent sample of the classical sites, exact and ancestral: their values."""
    traced = trace_sites(model, params, {}, args, key)
    return {name: traced[name]["value"] for name in sites.classical}


def draw_measured(model: Callable, sites: Sites, params: Params, values: dict, key, args: tuple):
    """The measured distribution at these classical values, one independent sample of it, and whether that is
    exact.

    The key is not that of the values.
    """
    site = trace_sites(model, params, values, args, key)[sites.measured]
    measured = distribution(site)
    return measured, *measured.draw(site["kwargs"]["rng_key"])


def measured_and_others(
    model: Callable, sites: Sites, params: Params, values: dict, args: tuple
) -> tuple[Measured, dict]:
    """The measured distribution at these classical values, and the values of all other sites."""
    traced = trace_sites(model, params, values, args)
    return distribution(traced[sites.measured]), {
        name: traced[name]["value"] for name in (*sites.observed, *sites.classical)
    }


def measured_at(
    model: Callable, sites: Sites, params: Params, values: dict, args: tuple, key=None
) -> Measured:
    """The measured distribution at these values of other sites; sites without a value are drawn
    with the key.
    """
    traced = trace_sites(model, params, values, args, key)
    return distribution(traced[sites.measured])


def state_at(model: Callable, sites: Sites, params: Params, args: tuple) -> StateDistribution | None:
    """The distribution of the states, where one site names them and is of that kind; else None.

    Other classical sites are at zero, which matters where the states depend on them.
    """
    if len(sites.state) != 1:
        return None
    traced = trace_sites(model, params, at_zero(model, sites, params, args), args)
    found = distribution(traced[sites.state[0]])
    return found if isinstance(found, StateDistribution) else None


def log_prob(
    model: Callable, sites: Sites, params: Params, values: dict, args: tuple, of: Iterable[str] | None = None
):
    """ln p of the classical sites, or of some of them, at these values."""
    traced = trace_sites(model, params, values, args)
    names = sites.classical if of is None else of
    return sum(
        (jnp.sum(traced[name]["fn"].log_prob(traced[name]["value"])) for name in names), start=jnp.zeros(())
    )


def log_psi(model: Callable, sites: Sites, params: Params, values: dict, args: tuple):
    """ln Psi(x), complex. Raises the ValueError of the distribution, naming the site."""
    measured = measured_at(model, sites, params, values, args)
    try:
        return measured.log_psi(values[sites.measured])
    except ValueError as error:
        raise ValueError(f"At site '{sites.measured}': {error}") from error


def log_modulus_and_phase(model: Callable, sites: Sites, params: Params, values: dict, args: tuple):
    """ln|Psi(x)| and the phase."""
    return measured_at(model, sites, params, values, args).log_modulus_and_phase(values[sites.measured])


def read_sites(model: Callable, params: Params, args: tuple) -> Sites:
    """Traces the model abstractly and classifies its sites, once for parameters of these shapes. Raises
    ValueError where it is not a density matrix.
    """
    check_params(params)
    return _read_sites(model, params, as_arrays(args))


@eqx.filter_jit
def _read_sites(model, params, args) -> Sites:
    kinds = {}
    dims = {}
    constrained = []

    def record(key):
        found = trace_sites(model, params, {}, args, key)
        constrained.extend(name for name, s in found.items() if s["type"] == "param" and is_constrained(s))
        traced = {name: s for name, s in found.items() if s["type"] == "sample"}
        for name, site in traced.items():
            found = distribution(site)
            kinds[name] = (type(found), site["is_observed"])
            if isinstance(found, Measured):
                dims[name] = found.dims
        return {name: site["value"] for name, site in traced.items()}

    shapes = jax.eval_shape(record, jax.random.key(0))
    name = _only_measured(kinds)
    observed = tuple(other for other, (_, seen) in kinds.items() if seen)
    classical = tuple(other for other in kinds if other != name and other not in observed)
    continuous = tuple(other for other in classical if jnp.issubdtype(shapes[other].dtype, jnp.floating))
    shape = shapes[name].shape
    none = Sites(name, classical, observed, (), continuous, (), (), (), shape, dims[name], tuple(constrained))
    values = {other: jnp.zeros(s.shape, s.dtype) for other, s in shapes.items() if other not in observed}

    def label(values):
        return measured_at(model, none, params, values, args).label

    return none._replace(
        state=tuple(other for other in dependencies(label, values) if other in classical),
        classical_params=dependencies(
            lambda p: log_prob(model, none, p, values, args), params, gradients=True
        ),
        measured_params=dependencies(lambda p: log_psi(model, none, p, values, args), params, gradients=True),
        continuous_params=dependencies(
            lambda p: log_prob(model, none, p, values, args, continuous), params, gradients=True
        )
        if continuous
        else (),
    )


def _only_measured(kinds: dict) -> str:
    measured = [name for name, (kind, _) in kinds.items() if issubclass(kind, Measured)]
    if len(measured) != 1:
        found = ", ".join(f"{name}: {kind.__name__}" for name, (kind, _) in kinds.items()) or "no sample site"
        raise ValueError(
            "Expected exactly one measured site (dist.Born, dist.CircuitBorn) in the model; got "
            f"{len(measured)} ({found})."
        )
    name = measured[0]
    if kinds[name][1]:
        raise ValueError(f"Expected an unobserved measured site; got '{name}' conditioned on a value.")
    later = list(kinds)[list(kinds).index(name) + 1 :]
    if later:
        raise ValueError(
            f"Expected every sample site of the model before the measured site '{name}'; got "
            f"'{later[0]}' after it."
        )
    return name


def transforms(model: Callable, sites: Sites, params: Params, args: tuple) -> Transforms:
    """u -> s of every parameter with a constraint, see `unconstrained`. For use in jit."""
    if not sites.constrained:
        return {}
    traced = trace_sites(model, params, {}, args, jax.random.key(0))
    return {name: transform(traced[name]) for name in sites.constrained}


def as_unconstrained(model: Callable, sites: Sites, params: Params, args: tuple) -> tuple[Callable, Params]:
    """The model as one of u, see `unconstrained`, and u. For use in jit."""
    maps = transforms(model, sites, params, args)
    return (given_unconstrained(model), to_unconstrained(maps, params)) if maps else (model, params)


def sample_values(model: Callable, params: Params, args: tuple, key) -> dict[str, Any]:
    """The values of all sites: a sample of those before what is measured, the observed, and zeros for it."""
    traced = trace_sites(model, params, {}, args, key)
    return {name: site["value"] for name, site in traced.items() if site["type"] == "sample"}


def module_of_kind(params: Params, kind: type, among: Iterable[str] | None = None) -> str | None:
    """The name of the one module of this kind, of all or among these names; None where there is none.

    Raises ValueError where there are several.
    """
    found = [name for name in (params if among is None else among) if isinstance(params[name], kind)]
    if len(found) > 1:
        raise ValueError(f"Expected one module of the kind {kind.__name__}; got {', '.join(found)}.")
    return found[0] if found else None


def distribution(site: dict):
    """The distribution of a traced sample site."""
    return site["fn"].distribution if isinstance(site["fn"], DistraxSite) else site["fn"]


def at_zero(model: Callable, sites: Sites, params: Params, args: tuple) -> dict[str, Any]:
    """Zeros in the place of all classical values, where these matter to nothing."""
    shapes = jax.eval_shape(lambda key: sample_values(model, params, args, key), jax.random.key(0))
    return {name: jnp.zeros(shapes[name].shape, shapes[name].dtype) for name in sites.classical}
