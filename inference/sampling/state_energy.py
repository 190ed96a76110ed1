r"""The energy of one state and its slope, where there are few enough x to be summed over:

    E_K = sum_x |Psi_K(x)|^2 E_loc(x)
    dE_K/d theta = 2 Re sum_x |Psi_K(x)|^2 (E_loc(x) - E_K)^* d ln Psi_K(x)/d theta

One sampled x in the place of the sum has the same mean and far more noise: E_loc and d ln Psi are of the
order of 1/|Psi(x)| each, so that a rare x has a large share of the variance. An x where Psi(x) = 0 exactly is
left out, as it is of samples.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from pnct.distributions.base import Measured


class StateEnergy(NamedTuple):
    """E_K, in the Hamiltonian's unit, and dE_K/d theta, a pytree like the parameters of Psi."""

    energy: Float[Array, ""]
    slope: Any


def state_energy(
    measured_at: Callable[[Any], Measured], params, local: Callable[[Array], Complex[Array, ""]]
) -> StateEnergy:
    """E_K and its slope at these parameters of Psi.

    measured_at: params -> the distribution of x, one with `all_values`.  local: x -> E_loc(x) at `params`.
    """
    law = measured_at(params)
    x = law.all_values()
    weight = jnp.exp(jax.vmap(law.log_prob)(x))
    # neither E_loc nor a slope is a number where Psi is 0
    x = jnp.where((weight > 0).reshape(-1, *[1] * (x.ndim - 1)), x, x[jnp.argmax(weight)])
    local_energies = jax.vmap(local)(x)
    energy = jnp.sum(weight * local_energies.real)
    residual = 2 * weight * (local_energies - energy)

    def weighted(params):
        log_modulus, phase = jax.vmap(measured_at(params).log_modulus_and_phase)(x)
        return jnp.sum(residual.real * log_modulus + residual.imag * phase)

    return StateEnergy(energy, jax.grad(weighted)(params))
