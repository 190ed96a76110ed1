r"""The FermiNet flow  zeta = T(R):  a displacement of every electron by a permutation-equivariant network.

With the spin channels g of electrons i and j (same spin, opposite spin), a layer of the single and of the
pair stream is

    z_i    = h_i V + sum_g (1/N) sum_{j in g(i)} h_j V'_g + sum_g (1/N) sum_{j != i in g(i)} h_ij W_g + b
    h_i   <- s(z_i),    h_ij <- s(h_ij W'_g + b'_g),   added to the input where the shapes match
    zeta_i = x_i + h_i W_out,    s an activation (pnct.networks.activations)

from h_ij = features(r_ij) and h_i = (nothing), or features of r_i where the space has a centre, or where
there are nuclei at X_j the smooth and periodic

    h_i = (1/P) sum_j s([cos, sin](2 pi (r_i - X_j)/L) W_n + b_n).

The sum of h_j over the same spin includes i itself. W_out starts at zero, T at the identity. In a cell a
shift of all electrons alike would change Psi by a phase only, and a trap has its own centre, so there is no
b_out.

Because h_ij depends on r_ij alone, its derivative has `dim` numbers per feature, not N dim: `jacobian`
scatters those, dz_i/dx_j = -tau_ij, dz_i/dx_i = sum_j tau_ij, and multiplies matrices along the single
stream.

Network: Pfau, Spencer, Matthews, Foulkes, Phys. Rev. Research 2, 033429 (2020); as a flow: Xie, Zhang, Wang,
SciPost Phys. 14, 154 (2023), whose networks have the fields of this class.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pnct.angles import angle
from pnct.flows.base import Flow, FlowDerivatives
from pnct.flows.ferminet.derivatives import derivatives
from pnct.flows.ferminet.jets import pair_slopes
from pnct.flows.pairs import channel_pairs, displacements, expand, scatter, spin_channels
from pnct.networks.activations import Activation, Algebraic
from pnct.networks.layers import random_weight, residual
from pnct.space import Space
from pnct.validation import checked_integer


class SingleLayer(NamedTuple):
    """V, V', W, b of a layer of the single stream: H -> W numbers an electron, F a pair, G spin channels."""

    own: Float[Array, "H W"] | None  # None where there is no h_i to act on
    mean: Float[Array, "G H W"] | None
    pair: Float[Array, "G F W"]
    bias: Float[Array, " W"]


class PairLayer(NamedTuple):
    """W', b' of one layer of the pair stream, F -> W numbers per pair, in each of G spin channels."""

    weight: Float[Array, "G F W"]
    bias: Float[Array, "G W"]


class NuclearLayer(NamedTuple):
    """W_n, b_n: from 2 dim features of an electron seen from a nucleus to H numbers."""

    weight: Float[Array, "F H"]
    bias: Float[Array, " H"]


class FermiNet(Flow):
    """T: (N, dim) -> (N, dim), in the lengths of its space. `single` has one layer more than `pair`.

    `features(r, L)`: a module-level function of the displacements (..., dim) -> (..., F), by default that of
    the space.  nuclear: where there are nuclei, whose places X come with `around`.
    """

    single: tuple[SingleLayer, ...]
    pair: tuple[PairLayer, ...]
    out: Float[Array, "H dim"]
    space: Space = eqx.field(static=True)
    features: Callable = eqx.field(static=True)
    activation: Activation
    nuclear: NuclearLayer | None = None
    X: Float[ArrayLike, "P dim"] | None = None

    def around(self, X: Float[ArrayLike, "P dim"]) -> "FermiNet":
        """This flow for nuclei at X. Raises ValueError where it has no features of them."""
        if self.nuclear is None:
            raise ValueError("Expected a FermiNet with features of nuclei; got none. Make it with nuclear=8.")
        return replace(self, X=jax.lax.stop_gradient(X))

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, "N dim"]:
        h = self.single_features(R)
        for layer, h_pair in zip(self.single, self.pair_stream(displacements(R)), strict=True):
            z = self.mix(layer, h) + self.pair_sums(layer, h_pair) + layer.bias
            h = residual(h, self.activation(z))
        return R + h @ self.out

    def jacobian(self, R: Float[ArrayLike, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, "D D"]]:
        """zeta and J = d zeta/d R, in the order of R.ravel(). Differentiable in R and in the parameters."""
        N, dim = R.shape
        h, tangent = jax.linearize(self.single_features, R)
        own = jax.vmap(tangent, out_axes=1)(
            jnp.broadcast_to(jnp.eye(dim, dtype=R.dtype)[:, None, :], (dim, N, dim))
        )
        dh = (np.eye(N)[:, :, None, None] * own[:, None]).astype(R.dtype).reshape(N, N * dim, h.shape[-1])

        h_pair, dh_pair = pair_slopes(self.features, R, self.space.L)
        for layer, pair in zip(self.single, (*self.pair, None), strict=True):
            z = self.mix(layer, h) + self.pair_sums(layer, h_pair) + layer.bias
            dz = self.mix(layer, dh) + scatter(self.pair_terms(layer, dh_pair))
            h = residual(h, self.activation(z))
            dh = residual(dh, self.activation.slope(z)[:, None, :] * dz)
            if pair is not None:
                z = self.pair_layer(pair, h_pair)
                dz = self.by_channel([dh_pair @ weight for weight in pair.weight])
                h_pair = residual(h_pair, self.activation(z))
                dh_pair = residual(dh_pair, self.activation.slope(z)[:, :, None, :] * dz)

        dzeta = jnp.swapaxes(dh @ self.out, 1, 2).reshape(N * dim, N * dim)
        return R + h @ self.out, jnp.eye(N * dim, dtype=R.dtype) + dzeta

    def derivatives(
        self, R: Float[ArrayLike, "N dim"], frame: Float[Array, "D D"] | None = None
    ) -> FlowDerivatives:
        """All that the kinetic energy needs of this flow, exactly and without a loop over coordinates."""
        return derivatives(self, R, frame)

    def single_features(self, R: Float[ArrayLike, "*N dim"]) -> Float[Array, "*N H"]:
        """h_i as the first layer meets it. Every row depends on its own electron alone."""
        if self.nuclear is not None:
            if self.X is None:
                raise ValueError("Expected places of nuclei; got none. Write flow.around(X).")
            r = R[..., None, :] - jnp.asarray(self.X, R.dtype)
            features = jnp.concatenate(angle(r, self.space.L), axis=-1)
            return jnp.mean(self.activation(features @ self.nuclear.weight + self.nuclear.bias), axis=-2)
        centre = self.space.one_body_features(R, self.space.L)
        return jnp.zeros((*R.shape[:-1], 0), R.dtype) if centre is None else jnp.concatenate(centre, axis=-1)

    def pair_stream(self, r: Float[Array, "N N dim"]) -> list[Float[Array, "N N F"]]:
        """h_ij as each layer of the single stream meets it. Every element depends on its own r_ij alone."""
        stream = [self.features(r, self.space.L)]
        for layer in self.pair:
            stream.append(residual(stream[-1], self.activation(self.pair_layer(layer, stream[-1]))))
        return stream

    def pair_layer(self, layer: PairLayer, h: Float[Array, "N N F"]) -> Float[Array, "N N W"]:
        """h_ij W'_g + b'_g."""
        return self.by_channel([h @ weight + b for weight, b in zip(layer.weight, layer.bias, strict=True)])

    def pair_terms(self, layer: SingleLayer, h: Float[Array, "N N *d F"]) -> Float[Array, "N N *d W"]:
        """(1/N) h_ij W_g, g the spin channel, zero for i = j. Linear in h: also for derivatives."""
        tau = self.by_channel([h @ weight for weight in layer.pair]) / self.space.N
        return jnp.where(expand(np.eye(self.space.N, dtype=bool), tau), 0, tau)

    def pair_sums(self, layer: SingleLayer, h: Float[Array, "N N F"]) -> Float[Array, "N W"]:
        """sum_j of the pair terms: one product for an electron, not for a pair."""
        sums = [
            jnp.sum(jnp.where(expand(pairs, h), h, 0), axis=1) @ weight
            for pairs, weight in zip(channel_pairs(self.space), layer.pair, strict=True)
        ]
        return sum(sums) / self.space.N

    def by_channel(self, choices: list[Float[Array, "N N *d F"]]) -> Float[Array, "N N *d F"]:
        """For each pair the element of the choice that belongs to its spin channel."""
        if len(choices) == 1:
            return choices[0]
        return jnp.where(expand(channel_pairs(self.space)[0], choices[0]), *choices)

    def mix(self, layer: SingleLayer, h: Float[Array, "N *d H"]) -> Float[Array, "N *d W"] | Literal[0]:
        """h_i V + sum_g (1/N) sum_{j in g(i)} h_j V'_g. Linear in h: also for derivatives."""
        if layer.own is None:
            return 0
        species = self.space.species
        total = jnp.stack([jnp.sum(h[i], axis=0) for i in species]) / self.space.N
        means = sum(
            jnp.tensordot(related.astype(h.dtype), total @ weight, 1)
            for related, weight in zip(spin_channels(self.space), layer.mean, strict=True)
        )
        own = h @ layer.own
        return jnp.concatenate([own[i] + mean for i, mean in zip(species, means, strict=True)])


def ferminet(
    space: Space, depth: int = 2, width: int = 16, features: Callable | None = None, nuclear: int = 0
) -> Callable[[Array], FermiNet]:
    """A function key -> FermiNet, at first the identity, of `depth` layers of `width` numbers per electron
    and pair.

    nuclear: how many numbers of each electron come from nuclei, where the flow is to see some in a cell.
    """
    depth = checked_integer("depth", depth, 1)
    width = checked_integer("width", width, 1)
    features = features or space.features
    origin = np.zeros((1, space.dim))
    centre = space.one_body_features(origin, space.L)
    G = len(spin_channels(space))
    F = features(origin, space.L).shape[-1]
    F_own = checked_integer("nuclear", nuclear, 0) or sum(x.shape[-1] for x in centre or ())

    def make(key: Array) -> FermiNet:
        single = []
        pair = []
        for level in range(depth):
            first = level == 0
            k = jax.random.split(jax.random.fold_in(key, level), 4)
            inputs, H = (F, F_own) if first else (width, width)
            fan_in = H + G * H + G * inputs
            own = random_weight(k[0], (H, width), fan_in) if H else None
            mean = random_weight(k[1], (G, H, width), fan_in) if H else None
            single.append(
                SingleLayer(own, mean, random_weight(k[2], (G, inputs, width), fan_in), jnp.zeros(width))
            )
            if level < depth - 1:
                pair.append(PairLayer(random_weight(k[3], (G, inputs, width), inputs), jnp.zeros((G, width))))
        seen = None
        if nuclear:
            weight = random_weight(jax.random.fold_in(key, depth), (2 * space.dim, nuclear), 2 * space.dim)
            seen = NuclearLayer(weight, jnp.zeros(nuclear))
        out = jnp.zeros((width, space.dim))
        return FermiNet(tuple(single), tuple(pair), out, space, features, Algebraic(), seen)

    return make
