r"""A flow as a distrax bijector:  forward(R) = T(R),  ln|det d zeta/d R|,  and the inverse."""

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pnct.flows.base import Flow
from pnct.flows.inverse import Inversion


class CanonicalTransformation(distrax.Bijector):
    """R -> zeta by the flow T. Events are configurations (N, dim).

    An inverse that did not converge is nan in all entries, so that it is never mistaken for a sample. Raises
    ValueError where the flow is none.
    """

    def __init__(self, flow: Flow):
        if not isinstance(flow, Flow):
            expected = "Expected flow to be a module R -> zeta, a subclass of pnct.flows.Flow"
            raise ValueError(f"{expected}; got {type(flow).__name__}.")
        super().__init__(event_ndims_in=2)
        self.flow = flow

    def forward(self, x: Float[Array, "*batch N dim"]) -> Float[Array, "*batch N dim"]:
        with jax.default_matmul_precision("highest"):
            return _over_batch(self.flow, x)

    def forward_and_log_det(self, x):
        with jax.default_matmul_precision("highest"):
            return _over_batch(self.flow.forward_and_log_det, x)

    def inverse(self, y: Float[Array, "*batch N dim"]) -> Float[Array, "*batch N dim"]:
        def one(zeta):
            with jax.default_matmul_precision("highest"):
                inversion = inverted(self.flow, zeta)
            return jnp.where(inversion.converged, inversion.R, jnp.nan)

        return _over_batch(one, y)

    def inverse_and_log_det(self, y):
        R = self.inverse(y)
        _, log_det = self.forward_and_log_det(R)
        return R, -log_det


@eqx.filter_jit
def inverted(flow: Flow, zeta: Float[Array, "N dim"]) -> Inversion:
    """flow.invert(zeta), traced once however often a program that draws from the flow is."""
    return flow.invert(zeta)


def _over_batch(function, x):
    for _ in range(x.ndim - 2):
        function = jax.vmap(function)
    return function(x)
