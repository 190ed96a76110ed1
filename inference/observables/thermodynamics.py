r"""Thermodynamics of the electron gas, from the draws of one state and from a grid of states in (r_s, theta).

    heat capacity        C = dE/dT = Cov(E_loc, -ln p(K))/T     (the second where p(K) ~ exp(-E_K/T))
    pressure             d P Omega = 2 K + V (virial theorem),        P = -(dF/dOmega)_T
    chemical potential   mu = (F + P Omega)/N,                        mu = F(N + 1) - F(N) in one volume
    bulk modulus         1/kappa = n (dP/dn)_T
    entropy              (d(S/Omega)/dn)_T = -(dmu/dT)_n        (Maxwell; measured: Kuntsevich et al.,
                                                                Nat. Commun. 6, 8298)

At fixed N the density n = N/Omega changes with r_s, Omega ~ r_s^d, and theta = T/E_F ~ T r_s^2, so that

    (dX/dr_s)_T = (dX/dr_s)_theta + (2 theta/r_s) (dX/dtheta)_{r_s}.

On a grid X r_s^p is differentiated, with the power p of the free gas: r_s^2 F is a parabola in r_s up to the
second order in the interaction, and so three points at a time are exact there. Everything is linear in K, V
and S at the points of the grid, whose covariances give the errors. Hartree, k_B, a_0.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from pnct.estimate import Estimate, mean_of_independent
from pnct.inference.sampling.saved_draws import DrawsLike, as_draws
from pnct.systems.electron_gas import ElectronGas


class StatePoint(NamedTuple):
    """Kinetic energy, potential energy (hartree) and entropy (k_B) of one state, totals, and their
    covariance.
    """

    mean: Float[np.ndarray, " 3"]
    covariance: Float[np.ndarray, "3 3"]


class GridEstimate(NamedTuple):
    """A quantity on the grid, shape (rs, theta), with its errors."""

    value: Float[np.ndarray, "A B"]
    error: Float[np.ndarray, "A B"]


class Thermodynamics(NamedTuple):
    """On a grid of rs (first axis) and theta (second axis). Per electron, in hartree and k_B, unless another
    unit is given.
    """

    rs: Float[np.ndarray, " A"]
    theta: Float[np.ndarray, " B"]
    temperature: Float[np.ndarray, "A B"]  # hartree
    density: Float[np.ndarray, " A"]  # electrons per a_0^dim
    free_energy: GridEstimate
    energy: GridEstimate
    entropy: GridEstimate
    heat_capacity: GridEstimate  # dE/dT at fixed density
    pressure_virial: GridEstimate  # hartree per a_0^dim
    pressure_free_energy: GridEstimate  # -dF/dOmega
    chemical_potential: GridEstimate  # (F + P Omega)/N with the virial pressure
    bulk_modulus: GridEstimate  # hartree per a_0^dim; the inverse of the compressibility
    entropy_slope: GridEstimate  # (d(S/Omega)/dn)_T
    chemical_potential_slope: GridEstimate  # -(dmu/dT)_n: equal to it


def volume(gas) -> float:
    """The volume (area) of the cell, in a_0^dim."""
    return float((gas.L * gas.rs) ** gas.dim)


def heat_capacity(draws: DrawsLike) -> Estimate:
    """C of all electrons in k_B, Cov(E_loc, -ln p)/T: exact where p(K) ~ exp(-E_K/T)."""
    draws = as_draws(draws).finite()
    energy = draws.energy.astype(float)
    log_p = np.asarray(draws.log_prob, float)
    if not draws.temperature > 0:
        raise ValueError(f"Expected temperature > 0; got {draws.temperature}.")
    products = -(energy - energy.mean()) * (log_p - log_p.mean()) / draws.temperature
    return mean_of_independent(products * len(products) / max(len(products) - 1, 1))


def pressure(gas, draws: DrawsLike) -> Estimate:
    """P = (2 K + V)/(d Omega) of the electron gas, in hartree per a_0^dim."""
    kinetic, potential = _energies(as_draws(draws).finite())
    return mean_of_independent(2 * kinetic + potential).scaled(1 / (gas.dim * volume(gas)))


def with_electrons(gas, num_electrons: tuple[int, int]) -> ElectronGas:
    """Other electrons in the same volume at the same temperature: mu = F(with N + 1) - F(gas)."""
    other = ElectronGas(num_electrons, gas.dim, 1.0, 0.0, gas.twist, gas.cutoff)
    rs = volume(gas) ** (1 / gas.dim) / other.L
    other = ElectronGas(num_electrons, gas.dim, rs, 0.0, gas.twist, gas.cutoff)
    return ElectronGas(num_electrons, gas.dim, rs, float(gas.temperature / other.E_F), gas.twist, gas.cutoff)


def state_point(draws: DrawsLike) -> StatePoint:
    """Mean and covariance of K, V and S from independent draws; failed ones are left out."""
    draws = as_draws(draws).finite()
    x = np.stack([*_energies(draws), draws.entropy.astype(float)])
    return StatePoint(x.mean(axis=1), np.cov(x) / x.shape[1])


def thermodynamics(gases: list[list[ElectronGas]], points: list[list[StatePoint]]) -> Thermodynamics:
    """All quantities on a grid: gases[a][b] has the a-th rs and the b-th theta, both ascending, >= 2 of each;
    one N and twist.
    """
    gas = gases[0][0]
    rs = np.array([row[0].rs for row in gases], float)
    theta = np.array([g.theta for g in gases[0]], float)
    _check(gases, points, rs, theta)
    N = gas.N
    dim = gas.dim
    omega = np.array([volume(row[0]) for row in gases])[:, None]
    T = np.array([[float(g.temperature) for g in row] for row in gases])
    fermi = np.array([float(row[0].E_F) for row in gases])
    along_rs = difference_matrix(rs)
    along_theta = difference_matrix(theta)

    # The values, and then every unit vector, go through the same linear formulae: the last axes of x.
    size = 3 * T.size
    x = np.array([[p.mean for p in row] for row in points])[..., None]
    x = np.concatenate([x, np.eye(size).reshape(*T.shape, 3, size)], axis=-1)
    blocks = np.array([[p.covariance for p in row] for row in points]).reshape(-1, 3, 3)
    covariance = np.zeros((size, size))
    for i, block in enumerate(blocks):
        covariance[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = block

    def by(factor, y):
        return np.broadcast_to(factor, T.shape)[..., None] * y

    def d_theta(y):
        return np.einsum("bc,acx->abx", along_theta, y)

    def d_temperature(y):
        return by(1 / fermi[:, None], d_theta(y))

    def d_rs(y, power):
        """At fixed theta, where r_s^power y changes least."""
        r = rs[:, None]
        return by(r**-power, np.einsum("ac,cbx->abx", along_rs, by(r**power, y))) - by(power / r, y)

    def d_density(y, power):
        """At fixed temperature."""
        at_T = d_rs(y, power) + by(2 * theta / rs[:, None], d_theta(y))
        return -by(rs[:, None] * omega / (dim * N), at_T)

    def field(y, scale=1.0):
        response = scale * y[..., 1:]
        variance = np.einsum("abx,xy,aby->ab", response, covariance, response)
        return GridEstimate(scale * y[..., 0], np.sqrt(np.maximum(variance, 0)))

    K, V, S = np.moveaxis(x, 2, 0)
    E = K + V
    F = E - by(T, S)
    P = by(1 / (dim * omega), 2 * K + V)
    slope = d_rs(F, 2) - by(2 * T / rs[:, None], S)  # (dF/dr_s)_T, by dF/dtheta = -E_F S
    mu = (F + by(omega, P)) / N
    return Thermodynamics(
        rs=rs,
        theta=theta,
        temperature=T,
        density=N / omega[:, 0],
        free_energy=field(F, 1 / N),
        energy=field(E, 1 / N),
        entropy=field(S, 1 / N),
        heat_capacity=field(d_temperature(E), 1 / N),
        pressure_virial=field(P),
        pressure_free_energy=field(-by(rs[:, None] / (dim * omega), slope)),
        chemical_potential=field(mu),
        bulk_modulus=field(by(N / omega, d_density(P, 2 + dim))),
        entropy_slope=field(d_density(by(1 / omega, S), dim)),
        chemical_potential_slope=field(-d_temperature(mu)),
    )


def difference_matrix(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n n"]:
    """The derivative at each point of the parabola through it and its neighbours (the straight line where n =
    2).
    """
    n = len(x)
    D = np.zeros((len(x), len(x)))
    for i in range(n):
        near = np.arange(min(n, 3)) + np.clip(i - 1, 0, max(n - 3, 0))
        powers = np.vander(x[near] - x[i], increasing=True)
        D[i, near] = np.linalg.inv(powers)[1]
    return D


def _energies(draws):
    return np.stack([np.asarray(draws.kinetic).real.astype(float), np.asarray(draws.potential, float)])


def _check(gases, points, rs, theta):
    shape = {len(row) for row in gases} | {len(row) for row in points}
    if len(gases) != len(points) or len(shape) != 1 or len(rs) < 2 or len(theta) < 2:
        raise ValueError(
            "Expected gases and points on one grid of at least 2 rs and 2 theta; got other shapes."
        )
    one = {(g.num_electrons, g.dim, g.twist) for row in gases for g in row}
    aligned = all(
        g.rs == r and g.theta == t
        for row, r in zip(gases, rs, strict=True)
        for g, t in zip(row, theta, strict=True)
    )
    if (
        len(one) != 1
        or not aligned
        or np.any(np.diff(rs) <= 0)
        or np.any(np.diff(theta) <= 0)
        or theta[0] <= 0
    ):
        raise ValueError(
            "Expected rs ascending by rows, theta > 0 ascending by columns, and one N, dim and twist; "
            "got another grid."
        )
