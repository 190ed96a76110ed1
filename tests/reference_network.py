"""The published trained networks of the 2D gas, as a flow, an orbital table and ln p(K): for comparison only.

Every definition is that of trained_2d_gas in the folder of reference values. Their energies are in Ry/rs^2.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pnct.flows.ferminet import FermiNet, PairLayer, SingleLayer
from pnct.orbitals import Cell, PlaneWaves


class Linear(NamedTuple):
    w: np.ndarray
    b: np.ndarray

    def __call__(self, x):
        return x @ self.w + self.b


class TrainedFlow(eqx.Module):
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
    angle = (2 * np.pi / L) * r
    square = jnp.sum(jnp.sin(angle) ** 2, axis=-1, keepdims=True)
    distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle), distance], axis=-1)


def as_ferminet(trained: TrainedFlow, cell: Cell) -> FermiNet:
    """The trained flow as ours, but for its shift `output.b` of all electrons alike, which changes Psi by a phase."""
    d = cell.dim
    W = trained.second.w.shape[1]
    # Our means leave out i = j, whose pair features are constant.
    own_features = trained_features(np.zeros((1, d)), cell.L)
    own_pair = jax.nn.softplus(trained.pair(own_features))
    first, second = trained.first.w[2 * d :], trained.second.w[2 * W :]
    single = (
        SingleLayer(None, None, first[None], trained.first.b + (own_features @ first / cell.N)[0]),
        SingleLayer(
            trained.second.w[:W],
            trained.second.w[None, W : 2 * W],
            second[None],
            trained.second.b + (own_pair @ second / cell.N)[0],
        ),
    )
    pair = (PairLayer(trained.pair.w[None], trained.pair.b[None]),)
    return jax.tree.map(jnp.asarray, FermiNet(single, pair, trained.output.w, cell, trained_features))


class TrainedOccupation(NamedTuple):
    """p(K) of strictly increasing indices: a causal transformer without layer norm or positions."""

    weights: dict
    orbitals: np.ndarray
    num_electrons: int

    def log_prob(self, K):
        return sum(self.log_conditional(K, t)[K[t]] for t in range(self.num_electrons))

    def sample(self, rng):
        K = np.zeros(self.num_electrons, int)
        for t in range(self.num_electrons):
            K[t] = rng.choice(len(self.orbitals), p=np.exp(self.log_conditional(K, t)))
        return K

    def log_conditional(self, K, t):
        """ln p of every orbital for electron t, given those before it in K."""
        M, N = len(self.orbitals), self.num_electrons
        allowed = slice(K[t - 1] + 1 if t else 0, M - N + t + 1)
        logits, log_p = self.logits(K)[t, allowed], np.full(M, -np.inf)
        log_p[allowed] = logits - np.max(logits) - np.log(np.sum(np.exp(logits - np.max(logits))))
        return log_p

    def logits(self, K):
        linear = lambda name, x: x @ self.weights[f"{name}/w"] + self.weights[f"{name}/b"]  # noqa: E731
        h = np.tanh(linear("embedding_mlp", self.orbitals[K]))
        for layer in ("layer0", "layer1"):
            q, k, v = (_heads(linear(f"{layer}_attn/{part}", h)) for part in ("query", "key", "value"))
            score = np.einsum("ihc,jhc->hij", q, k) / np.sqrt(q.shape[-1])
            score = np.where(np.tril(np.ones(score.shape[1:], bool)), score, -np.inf)
            attention = np.exp(score - score.max(-1, keepdims=True))
            attention /= attention.sum(-1, keepdims=True)
            h = h + linear(f"{layer}_attn/linear", np.einsum("hij,jhc->ihc", attention, v).reshape(h.shape))
            h = h + linear(f"{layer}_mlp/linear_1", np.tanh(linear(f"{layer}_mlp/linear", h)))
        out = linear("output_mlp", np.tanh(h))
        return np.concatenate([self.weights["x1hat"][None], out[:-1]])


def _heads(x):
    return x.reshape(len(x), 4, 4)


class Trained(NamedTuple):
    flow: TrainedFlow
    orbitals: PlaneWaves
    occupation: TrainedOccupation
    rs: float
    R: np.ndarray


def load(reference, rs) -> Trained:
    """The network of N = 29 at this r_s (0.25, 0.5, 1.0, 3.0, 5.0, 10.0), with 64 of its walkers."""
    data = np.load(reference / "trained_2d_gas" / f"n29_rs{rs}.npz")
    linear = lambda name: Linear(data[f"flow/fermi_net/{name}/w"], data[f"flow/fermi_net/{name}/b"])  # noqa: E731
    cell = Cell((int(data["meta/n"]), 0), int(data["meta/dim"]), float(data["meta/L"]))
    flow = TrainedFlow(cell.L, linear("~/linear"), linear("~/linear_2"), linear("~/linear_1"), linear("linear"))
    head = "van/transformer/"
    van = {name.removeprefix(head): np.asarray(data[name], float) for name in data if name.startswith(head)}
    occupation = TrainedOccupation(van, data["orbitals"], cell.N)
    return Trained(flow, PlaneWaves(data["orbitals"], cell), occupation, float(rs), data["x"])
