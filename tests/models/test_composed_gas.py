"""Two flows one after the other: the local energy is that of ln Psi, and the natural gradient remembers the metric of both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from numpyro.handlers import seed, substitute, trace

from pnct import ElectronGas, hamiltonian
from pnct.inference import natural_gradient
from pnct.models import composed_gas


def test_local_energy_is_that_of_log_psi():
    """In turned axes, against the Laplacian of ln Psi by automatic differentiation."""
    gas = ElectronGas((3, 0), 2, 3.0, 0.3, cutoff=4.0)
    params = modules(gas)
    rng = np.random.default_rng(0)
    params |= {
        name: jax.tree.map(lambda x: jnp.asarray(0.2 * rng.normal(size=x.shape)), params[name]) for name in ("first", "second")
    }

    @jax.jit
    def energies(params, key):
        sites = trace(seed(substitute(composed_gas, params), key)).get_trace(gas)
        born, R = sites["R"]["fn"], sites["R"]["value"]
        log_psi = lambda x: born.log_psi(x.reshape(R.shape))  # noqa: E731
        split = lambda f: lambda x: jnp.stack([f(x).real, f(x).imag])  # noqa: E731
        gradient, hessian = jax.jacfwd(split(log_psi))(R.ravel()), jax.jacfwd(jax.jacfwd(split(log_psi)))(R.ravel())
        gradient, laplacian = gradient[0] + 1j * gradient[1], jnp.trace(hessian[0]) + 1j * jnp.trace(hessian[1])
        return hamiltonian(gas)(born, R).kinetic, -(laplacian + jnp.sum(gradient**2)) / (2 * gas.rs**2)

    for key in random.split(random.key(1), 3):
        ours, theirs = energies(params, key)
        assert complex(ours) == pytest.approx(complex(theirs), rel=1e-9)


def test_the_metric_of_both_flows_is_remembered():
    params = modules(ElectronGas((29, 0), 2, 10.0, 0.15, 0.25))
    metric = jax.eval_shape(natural_gradient().init, params).metric
    assert {"first", "second"} <= metric["first"].keys()


def modules(gas):
    """The modules of the model, by name, with their first parameters."""
    sites = trace(seed(composed_gas, random.key(0))).get_trace(gas)
    return {name: site["value"] for name, site in sites.items() if site["type"] == "param"}
