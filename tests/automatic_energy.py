"""The local kinetic energy by automatic differentiation of ln Psi:  -(Lap ln Psi + (grad ln Psi)^2)/(2
r_s^2).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import random

from pnct import hamiltonian
from pnct.inference.sampling.sites import init_params, trace_sites


def moved_modules(model, gas, names, size):
    """The first modules of the model, where all parameters of those of these names are random numbers."""
    params = jax.jit(lambda key: init_params(model, key, (gas,)))(random.key(0))
    rng = np.random.default_rng(0)
    return params | {
        name: jax.tree.map(lambda x: jnp.asarray(size * rng.normal(size=x.shape)), params[name])
        for name in names
    }


@partial(jax.jit, static_argnums=(0, 2))
def kinetic_energies(model, params, gas, key):
    """That of the library and that of automatic differentiation, at one draw of the states, of electrons
    anywhere.
    """
    born = trace_sites(model, params, {}, (gas,), key)["R"]["fn"]
    R = random.uniform(key, (gas.N, gas.dim)) * gas.L

    def log_psi(x):
        return born.log_psi(x.reshape(R.shape))

    def split(f):
        return lambda x: jnp.stack([f(x).real, f(x).imag])

    gradient, hessian = (
        jax.jacfwd(split(log_psi))(R.ravel()),
        jax.jacfwd(jax.jacfwd(split(log_psi)))(R.ravel()),
    )
    gradient, laplacian = gradient[0] + 1j * gradient[1], jnp.trace(hessian[0]) + 1j * jnp.trace(hessian[1])
    return hamiltonian(gas).local_energy(born, R).kinetic, -(laplacian + jnp.sum(gradient**2)) / (
        2 * gas.rs**2
    )
