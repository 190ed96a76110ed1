"""The published trained networks of the 2D gas, as a flow, an orbital table and ln p(K): for comparison only.

They belong to their authors and are not part of the repository (tests/reference/README.md). Their energies
are in Ry/rs^2.
"""

import os
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pnct.angles import angle
from pnct.flows import Flow
from pnct.flows.ferminet.network import FermiNet, PairLayer, SingleLayer
from pnct.networks.activations import Softplus
from pnct.orbitals.plane_waves import Cell, PlaneWaves
from pnct.space import norm

ELSEWHERE = Path(__file__).parents[2] / "shared" / "reference" / "trained_2d_gas"
TRAINED_NETWORKS = Path(os.environ.get("PNCT_TRAINED_NETWORKS", ELSEWHERE))


class Linear(NamedTuple):
    w: np.ndarray
    b: np.ndarray

    def __call__(self, x):
        return x @ self.w + self.b


class TrainedFlow(Flow):
    """zeta = R + two FermiNet layers with |sin(2 pi r/L)| as the distance."""

    L: float = eqx.field(static=True)
    first: Linear
    pair: Linear
    second: Linear
    output: Linear

    def __call__(self, R):
        N = len(R)
        different = ~np.eye(N, dtype=bool)[..., None]
        angle = (2 * np.pi / self.L) * (R[:, None] - R[None, :])
        square = jnp.sum(jnp.sin(angle) ** 2, axis=-1, keepdims=True)
        distance = jnp.where(different, jnp.sqrt(jnp.where(different, square, 1.0)), 0.0)
        h2 = jnp.concatenate([jnp.cos(angle), jnp.sin(angle), distance], axis=-1)

        h1 = jax.nn.softplus(self.first(_features(jnp.zeros_like(R), h2)))
        h2 = jax.nn.softplus(self.pair(h2))
        h1 = h1 + jax.nn.softplus(self.second(_features(h1, h2)))
        return R + self.output(h1)


def _features(h1, h2):
    mean = jnp.broadcast_to(jnp.mean(h1, axis=0), h1.shape)
    return jnp.concatenate([h1, mean, jnp.mean(h2, axis=1)], axis=-1)


def trained_features(r, L):
    """[cos(2 pi r/L), sin(2 pi r/L), |sin(2 pi r/L)|]."""
    cosine, sine = angle(r, L)
    return jnp.concatenate([cosine, sine, norm(sine)], axis=-1)


def as_ferminet(trained: TrainedFlow, space: Cell) -> FermiNet:
    """The trained flow as ours, but for its shift `output.b` of all electrons alike, which changes Psi by a
    phase.
    """
    d = space.dim
    W = trained.second.w.shape[1]
    # Our means leave out i = j, whose pair features are constant.
    own_features = trained_features(np.zeros((1, d)), space.L)
    own_pair = jax.nn.softplus(trained.pair(own_features))
    first, second = trained.first.w[2 * d :], trained.second.w[2 * W :]
    single = (
        SingleLayer(None, None, first[None], trained.first.b + (own_features @ first / space.N)[0]),
        SingleLayer(
            trained.second.w[:W],
            trained.second.w[None, W : 2 * W],
            second[None],
            trained.second.b + (own_pair @ second / space.N)[0],
        ),
    )
    pair = (PairLayer(trained.pair.w[None], trained.pair.b[None]),)
    flow = FermiNet(single, pair, trained.output.w, space, trained_features, Softplus())
    return jax.tree.map(jnp.asarray, flow)


class TrainedOccupation(eqx.Module):
    """p(K) of strictly increasing indices: a causal transformer without layer norm or positions."""

    weights: dict
    orbitals: np.ndarray
    num_electrons: int = eqx.field(static=True)

    @jax.jit
    def log_prob(self, K):
        return sum(self.log_conditional(K, t)[K[t]] for t in range(self.num_electrons))

    @jax.jit
    def sample(self, key):
        """K, one electron after another, and ln p(K)."""

        def occupy(t, drawn):
            K, log_p = drawn
            log_conditional = self.log_conditional(K, t)
            k = jax.random.categorical(jax.random.fold_in(key, t), log_conditional)
            return K.at[t].set(k), log_p + log_conditional[k]

        return jax.lax.fori_loop(
            0, self.num_electrons, occupy, (jnp.zeros(self.num_electrons, int), jnp.zeros(()))
        )

    def log_conditional(self, K, t):
        """ln p of every orbital for electron t, given those before it in K."""
        M, N, orbital = len(self.orbitals), self.num_electrons, jnp.arange(len(self.orbitals))
        lowest = jnp.where(t > 0, K[t - 1] + 1, 0)
        allowed = (orbital >= lowest) & (orbital < M - N + t + 1)
        return jax.nn.log_softmax(jnp.where(allowed, self.logits(K)[t], -jnp.inf))

    def logits(self, K):
        def linear(name, x):
            return x @ self.weights[f"{name}/w"] + self.weights[f"{name}/b"]

        h = jnp.tanh(linear("embedding_mlp", jnp.asarray(self.orbitals)[K]))
        for layer in ("layer0", "layer1"):
            q, k, v = (_heads(linear(f"{layer}_attn/{part}", h)) for part in ("query", "key", "value"))
            score = jnp.einsum("ihc,jhc->hij", q, k) / np.sqrt(q.shape[-1])
            score = jnp.where(np.tril(np.ones(score.shape[1:], bool)), score, -jnp.inf)
            attention = jax.nn.softmax(score)
            h = h + linear(f"{layer}_attn/linear", jnp.einsum("hij,jhc->ihc", attention, v).reshape(h.shape))
            h = h + linear(f"{layer}_mlp/linear_1", jnp.tanh(linear(f"{layer}_mlp/linear", h)))
        out = linear("output_mlp", jnp.tanh(h))
        return jnp.concatenate([self.weights["x1hat"][None], out[:-1]])


def _heads(x):
    return x.reshape(len(x), 4, 4)


class Trained(NamedTuple):
    flow: TrainedFlow
    orbitals: PlaneWaves
    occupation: TrainedOccupation
    rs: float
    R: np.ndarray


def load(folder, rs) -> Trained:
    """The network of N = 29 at this r_s (0.25, 0.5, 1.0, 3.0, 5.0, 10.0), with 64 of its walkers."""
    data = np.load(folder / f"n29_rs{rs}.npz")

    def linear(name):
        return Linear(data[f"flow/fermi_net/{name}/w"], data[f"flow/fermi_net/{name}/b"])

    space = Cell((int(data["meta/n"]), 0), int(data["meta/dim"]), float(data["meta/L"]))
    flow = TrainedFlow(
        space.L, linear("~/linear"), linear("~/linear_2"), linear("~/linear_1"), linear("linear")
    )
    head = "van/transformer/"
    van = {name.removeprefix(head): np.asarray(data[name], float) for name in data if name.startswith(head)}
    occupation = TrainedOccupation(van, data["orbitals"], space.N)
    return Trained(flow, PlaneWaves(data["orbitals"], space), occupation, float(rs), data["x"])
