r"""F/N of the published trained networks of the 2D gas, N = 29, from exact samples:  F = E[<E_loc>_disc + T
ln p(K)].

    python tests/benchmarks/published_networks.py --rs 10 --samples 16384 --out DIR

Their flow contains |sin(2 pi r_ij/L)| and so has a kink wherever r_ij is half a period, where Psi does not
vanish: at a distance x from there E_loc ~ c/x, whose mean is finite and whose variance is not. So where the
pair that is nearest to a kink lies within a disc of radius a around it, E_loc is averaged over the disc, the
pair's centre and the other electrons where they are,

    <E_loc>_disc = int |Psi|^2 E_loc d^2x / int |Psi|^2 d^2x,    d^2x = x dx d phi,

by a Gauss rule in x and equal steps in phi: the same mean, without the tail. Where two pairs lie within their
discs, only the nearer one counts; of a = 0.002 L, where 1.5 % of the samples have one, that are 0.01 %.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
sys.path.append(str(Path(__file__).parents[1]))

from reference_network import TRAINED_NETWORKS, Trained, as_ferminet, load

from pnct.distributions import Born
from pnct.estimate import mean_of_independent
from pnct.hamiltonian import ElectronHamiltonian
from pnct.systems.ewald import Coulomb, ewald

THETA = 0.15
KINKS = np.array([[0.5, 0], [0, 0.5], [0.5, 0.5]])  # in units of L; at r = 0 Psi vanishes
RADII, ANGLES, BATCH = 4, 8, 512


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rs", type=float, default=10.0, choices=[0.25, 0.5, 1.0, 3.0, 5.0, 10.0])
    parser.add_argument("--samples", type=int, default=16_384)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--radius", type=float, default=0.002, help="of the discs, in units of L")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    if args.samples < 2:
        parser.error(f"Expected --samples >= 2; got {args.samples}.")
    if not 0 <= args.radius <= 0.25:
        parser.error(f"Expected --radius from 0 to 0.25, so that no pair is in two discs; got {args.radius}.")
    if not TRAINED_NETWORKS.is_dir():
        parser.error(
            f"Expected the trained networks at {TRAINED_NETWORKS}; got nothing. "
            "Set PNCT_TRAINED_NETWORKS to their folder."
        )
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    draws = sample(load(TRAINED_NETWORKS, args.rs), args.samples, args.seed, args.radius)
    results = {name: mean_of_independent(x) for name, x in draws.items() if name != "distance"}
    for name, estimate in results.items():
        print(f"{name}/N = {estimate}" + ("" if name == "S" else " Ry"))
    inside = float(np.mean(draws["distance"] < args.radius))
    print(f"{inside:.4f} of the samples averaged over a disc, {time.monotonic() - start:.0f} s")
    text = {
        "rs": args.rs,
        "samples": args.samples,
        "seed": args.seed,
        "radius": args.radius,
        "inside": inside,
    }
    text |= {name: [x.value, x.error] for name, x in results.items()}
    (args.out / f"published_networks_{args.rs}.json").write_text(json.dumps(text, indent=1))


def sample(trained: Trained, num_samples: int, seed: int, radius: float) -> dict:
    """F/N, the same without averages over discs, V/N (Ry), S/N, and the distance from the nearest kink in
    units of L.
    """
    orbitals, space, rs = trained.orbitals, trained.orbitals.space, trained.rs
    flow, N = as_ferminet(trained.flow, space), space.N
    energy = ElectronHamiltonian(0.0, 1.0, 1 / (2 * rs**2), Coulomb(rs, ewald(space)))
    i, j = (jnp.asarray(x) for x in np.triu_indices(N, 1))

    @jax.jit
    def draw(keys):
        def one(key):
            K_key, R_key = jax.random.split(key)
            K, log_p = trained.occupation.sample(K_key)
            born = Born(orbitals, K, flow)
            R = born.sample(seed=R_key)
            local = energy.local_energy(born, R)
            return (
                K,
                log_p,
                R,
                local.kinetic.real + local.potential,
                local.potential,
                *nearest_kink(R[i] - R[j], space.L),
            )

        return jax.lax.map(one, keys, batch_size=8)

    @jax.jit
    def averaged(K, R, pair, offset):
        born = Born(orbitals, K, flow)

        def at(new):
            moved = R.at[i[pair]].add((new - offset) / 2).at[j[pair]].add((offset - new) / 2)
            local = energy.local_energy(born, moved)
            return local.kinetic.real + local.potential, born.log_prob(moved)

        return average_over_disc(at, radius * space.L)

    keys = jax.random.split(jax.random.key(seed), num_samples)
    parts = [jax.device_get(draw(keys[n : n + BATCH])) for n in range(0, num_samples, BATCH)]
    K, log_p, R, E, V, distance, pair, offset = (np.concatenate(x) for x in zip(*parts, strict=True))
    E_disc = E.copy()
    for n in np.flatnonzero(distance < radius):
        E_disc[n] = averaged(K[n], R[n], pair[n], offset[n])
    T, unit = 2 * THETA / rs**2, 2 / N  # hartree; Ry per electron
    return {
        "F": unit * (E_disc + T * log_p),
        "F without averages": unit * (E + T * log_p),
        "V": unit * V,
        "S": -log_p / N,
        "distance": distance,
    }


def nearest_kink(r, L: float):
    """Of all displacements (P, 2) the one nearest to a kink: its distance in units of L, its index, its
    offset from the kink.
    """
    offset = r[:, None] - L * KINKS
    offset = offset - L * jnp.round(offset / L)
    distance = jnp.linalg.norm(offset, axis=-1)
    pair, kink = jnp.unravel_index(jnp.argmin(distance), distance.shape)
    return distance[pair, kink] / L, pair, offset[pair, kink]


def average_over_disc(at, radius: float):
    """The mean of the first of at(x) = (e, ln w) over the disc |x| < radius in two dimensions, weighted by w.

    Exact for e = c/|x| where c and w hardly change.
    """
    x, weight = np.polynomial.legendre.leggauss(RADII)
    x, weight = radius * (x + 1) / 2, weight / 2
    phi = 2 * np.pi * (np.arange(ANGLES) + 0.5) / ANGLES
    points = (x[:, None, None] * np.stack([np.cos(phi), np.sin(phi)], axis=-1)).reshape(-1, 2)
    e, log_w = jax.lax.map(at, jnp.asarray(points), batch_size=8)
    share = jax.nn.softmax(log_w + np.log(np.repeat(weight * x, ANGLES)))
    return jnp.sum(share * e)


if __name__ == "__main__":
    main()
