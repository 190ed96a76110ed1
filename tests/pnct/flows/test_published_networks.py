"""The trained networks of an independent program, evaluated by ours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pnct.distributions.born import Born
from pnct.flows.ferminet.network import FermiNet, PairLayer, SingleLayer
from pnct.networks.activations import Softplus
from pnct.networks.layers import softplus
from pnct.orbitals.plane_waves import PlaneWaves
from pnct.space import Cell

structured = jax.jit(lambda flow, R: flow.jacobian(R))
invert = jax.jit(lambda flow, zeta: flow.invert(zeta))
log_psi = jax.jit(lambda born, R: born.log_psi(R))


def published_features(r, L):
    """[cos, sin, |sin(2 pi r/L)|]: what the networks of Xie, Zhang, Wang were trained with."""
    sine = jnp.sin((2 * np.pi / L) * r)
    q = jnp.sum(sine**2, axis=-1, keepdims=True)
    return jnp.concatenate(
        [jnp.cos((2 * np.pi / L) * r), sine, jnp.where(q > 0, jnp.sqrt(jnp.where(q > 0, q, 1)), 0)], axis=-1
    )


def published_flow(weights, space) -> FermiNet:
    """Their mean over j includes j = i, a constant row per layer, which goes into our biases."""
    w = {
        name.removeprefix("flow/fermi_net/"): jnp.asarray(weights[name])
        for name in weights.files
        if "flow" in name
    }
    d, H = space.dim, w["linear/w"].shape[0]
    first, second = w["~/linear/w"][2 * d :], w["~/linear_1/w"]
    pair = PairLayer(w["~/linear_2/w"][None], w["~/linear_2/b"][None])
    own_features = jnp.concatenate([jnp.ones(d), jnp.zeros(d + 1)])
    own_pair = softplus(own_features @ pair.weight[0] + pair.bias[0])
    return FermiNet(
        single=(
            SingleLayer(None, None, first[None], w["~/linear/b"] + own_features @ first / space.N),
            SingleLayer(
                second[:H],
                second[None, H : 2 * H],
                second[None, 2 * H :],
                w["~/linear_1/b"] + own_pair @ second[2 * H :] / space.N,
            ),
        ),
        pair=(pair,),
        out=w["linear/w"],
        space=space,
        features=published_features,
        activation=Softplus(),
    )


@pytest.mark.parametrize("rs", ["1.0", "10.0"])
def test_published_networks(trained_networks, rs):
    """zeta, half ln|det J| and ln Psi of an independent program, to rounding; and Newton on the way back."""
    weights = np.load(trained_networks / f"n29_rs{rs}.npz")
    golden = np.load(trained_networks / f"golden_n29_rs{rs}.npz")
    space = Cell((29, 0), 2, float(golden["L"]))
    flow, shift = published_flow(weights, space), weights["flow/fermi_net/linear/b"]
    orbitals = PlaneWaves(weights["orbitals"], space)

    for K, R, z, half, psi in zip(
        *(golden[n] for n in ("state_idx", "x", "z", "half_logdetJ", "lnpsi")), strict=True
    ):
        zeta, J = structured(flow, jnp.asarray(R))
        np.testing.assert_allclose(zeta + shift, z, rtol=0, atol=1e-12)
        np.testing.assert_allclose(0.5 * np.linalg.slogdet(J)[1], half, rtol=0, atol=1e-12)
        # a common shift is a phase, and their determinant is not divided by sqrt(N!)
        phase = np.sum(orbitals.wavevectors[K] @ shift)
        ratio = np.exp(
            log_psi(Born(orbitals, K, flow), jnp.asarray(R))
            + 0.5 * np.sum(np.log(np.arange(1, 30)))
            + 1j * phase
            - psi
        )
        np.testing.assert_allclose(ratio, 1, rtol=0, atol=1e-10)

        inversion = invert(flow, zeta)
        assert inversion.converged and inversion.iterations <= 8
        np.testing.assert_allclose(inversion.R, R, rtol=0, atol=1e-11)
