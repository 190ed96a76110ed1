r"""A hierarchy with a continuous variable: one classical particle X, then K, then one electron R that feels
X.

    H(X) = -nabla^2/2 - sum_a [v cos(k (r_a - X_a)) + w cos(k r_a)],    k = 2 pi/L
    F = -T ln int dX Tr exp(-H(X)/T)

In plane waves H(X) is a sum over the two axes of matrices with |v exp(i k X_a) + w|/2 beside the diagonal,
and the integral over X_a is a trapezoidal sum. X has a flow of its own, drawn by its inverse, and the
electron's flow takes X.
"""

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import pnct
import pnct.distributions as dist
from pnct import ElectronGas
from pnct.distributions import shell_energies
from pnct.flows import Flow
from pnct.hamiltonian import Hamiltonian, LocalEnergy
from pnct.inference import NumericalWarning, VariationalFreeEnergy, diagnose, natural_gradient, to_arviz
from pnct.inference.sampling.sites import read_sites
from pnct.inference.training.failures import stages
from pnct.kinetic import local_kinetic

GAS = ElectronGas((1, 0), dim=2, rs=1.0, theta=0.35, cutoff=8.0)
L = GAS.L
k = 2 * np.pi / L
V = 0.45
W = 0.4
KEY = jax.random.key


class Waves(eqx.Module):
    """u_a = X_a + sum_n c_n sin(n k X_a)/(n k): one-to-one where |c_1| + |c_2| < 1."""

    c: Float[Array, "2"]

    def __call__(self, X):
        return X + sum(c * jnp.sin(n * k * X) / (n * k) for n, c in enumerate(self.c, 1))

    def log_slope(self, X):
        return jnp.sum(jnp.log(jnp.abs(1 + sum(c * jnp.cos(n * k * X) for n, c in enumerate(self.c, 1)))))


class Place(distrax.Distribution):
    """X = T^-1(u), u uniform: nan where the search for the inverse fails."""

    def __init__(self, waves):
        self.waves = waves

    @property
    def event_shape(self):
        return (2,)

    @property
    def batch_shape(self):
        return ()

    @property
    def dtype(self):
        return self.waves.c.dtype

    def log_prob(self, value):
        return self.waves.log_slope(value) - 2 * jnp.log(L)

    def _sample_n(self, key, n):
        return jax.vmap(self._one)(L * jax.random.uniform(key, (n, 2), self.dtype))

    def _one(self, u):
        waves = jax.lax.stop_gradient(self.waves)

        def newton(_, X):
            slope = jnp.diagonal(jax.jacfwd(waves)(X))
            return X - jnp.clip((waves(X) - u) / slope, -0.3, 0.3)

        X = jax.lax.fori_loop(0, 40, newton, u)
        return jnp.where(jnp.max(jnp.abs(waves(X) - u)) < 1e-9, X, jnp.nan)


class Attracted(Flow):
    """zeta_a = r_a + [a sin(k (r_a - X_a)) + b sin(k r_a)]/k, of one electron."""

    a: Float[Array, ""]
    b: Float[Array, ""]
    X: Float[Array, "2"]

    def __call__(self, R):
        return R + (self.a * jnp.sin(k * (R - self.X)) + self.b * jnp.sin(k * R)) / k


class Attraction(Hamiltonian):
    """It sees the nucleus among the values of all sites."""

    temperature: float
    energy_scale: float
    unit: str = eqx.field(static=True, default="hartree")

    def __call__(self, measured, values):
        R = values.measured
        psi = local_kinetic(measured.states, measured.K, measured.flow, R)
        kinetic = -0.5 * (psi.laplacian + jnp.sum(psi.gradient**2))
        attraction = V * jnp.sum(jnp.cos(k * (R[0] - values["nucleus"])))
        return LocalEnergy(kinetic, -attraction - W * jnp.sum(jnp.cos(k * R)))


def hamiltonian(gas) -> Attraction:
    return Attraction(gas.temperature, gas.E_F)


class Numbers(eqx.Module):
    """Two numbers, for the flow of the electron."""

    values: Float[Array, "2"]


def program(start=(0.0, 0.0)):
    def atom(gas):
        waves = pnct.module("of_nucleus", lambda key: Waves(jnp.asarray(start)))
        energies = pnct.module("weights", shell_energies(gas))
        shift = pnct.module("of_electron", lambda key: Numbers(jnp.zeros(2)))
        X = pnct.sample("nucleus", Place(waves))
        state = pnct.sample("level", dist.Occupation(gas, energies))
        flow = Attracted(*shift.values, jax.lax.stop_gradient(X))
        return pnct.sample("electron", dist.Born(gas.orbitals, state, flow))

    return atom


MODEL = program()


def exact() -> tuple[float, float, float]:
    """F, E and S by quadrature over X of diagonalisations in 61 plane waves."""
    T = float(GAS.temperature)
    n = np.arange(-30, 31)
    X = L * np.arange(64) / 64
    levels = []
    for x in X:
        beside = -abs(V * np.exp(1j * k * x) + W) / 2
        h = np.diag(k**2 * n**2 / 2.0) + beside * (np.eye(61, k=1) + np.eye(61, k=-1))
        levels.append(np.linalg.eigvalsh(h))
    levels = np.array(levels)
    boltzmann = np.exp(-levels / T)
    Z = L * np.mean(np.sum(boltzmann, axis=1))  # of one axis
    F = -2 * T * np.log(Z)
    E = 2 * L * np.mean(np.sum(boltzmann * levels, axis=1)) / Z
    return F, E, (E - F) / T


def test_free_energy_energy_and_entropy_are_those_of_quadrature():
    vfe = VariationalFreeEnergy(MODEL, hamiltonian, natural_gradient(), num_walkers=512)
    sites = read_sites(MODEL, vfe.init(KEY(0), GAS).params, (GAS,))
    assert (sites.state, sites.continuous, sites.measured) == (("level",), ("nucleus",), "electron")
    assert set(sites.continuous_params) == {"of_nucleus"}
    result = vfe.run(KEY(0), 100, GAS, progress_bar=False)
    draws = vfe.evaluate(KEY(1), result.params, 16_384, GAS)
    found = draws.estimates()
    for name, value in zip(("free_energy", "energy", "entropy"), exact(), strict=True):
        assert abs(found[name].value - value) < 3 * found[name].error, name
    assert found["free_energy"].error < 0.01

    # F of the untrained program is far higher than that: what the flows learn is seen.
    untrained = vfe.evaluate(KEY(1), vfe.init(KEY(0), GAS).params, 16_384, GAS).estimates()["free_energy"]
    assert untrained.value - found["free_energy"].value > 5 * untrained.error
    report = diagnose(to_arviz(draws, result.history, system=GAS))
    assert report.num_failed == 0
    parts = report.entropy_by_site
    assert parts.keys() == {"nucleus", "level"} and "... of nucleus" in str(report)
    assert parts["nucleus"].value + parts["level"].value == pytest.approx(report.entropy.value)
    assert 0 < parts["level"].value < 0.1 * parts["nucleus"].value


def test_a_nucleus_without_an_inverse_is_named_counted_and_the_update_taken_back():
    folded = program((1.4, 0.0))
    vfe = VariationalFreeEnergy(folded, hamiltonian, natural_gradient(), num_walkers=64)
    state = vfe.init(KEY(0), GAS)
    sites = read_sites(folded, state.params, (GAS,))
    state = state._replace(
        last_update=jax.tree.map(lambda x: 0.4 * jnp.ones_like(x), state.params),
        backtracks_left=jnp.asarray(3, jnp.int32),
    )
    after, info = vfe.update(state, GAS)
    assert info.num_failed > 0 and stages(sites)[int(info.failed_stage)] == "site 'nucleus'"
    assert bool(info.backtracked)
    np.testing.assert_allclose(after.params["of_nucleus"].c, [1.2, -0.2], rtol=1e-12)
    with pytest.warns(NumericalWarning, match="samples failed, first walker .* at site 'nucleus'"):
        vfe.evaluate(KEY(0), state.params, 64, GAS)


def test_a_nucleus_that_nothing_depends_on_is_refused():
    def program(gas):
        pnct.sample("nucleus", Place(Waves(jnp.zeros(2))))
        state = pnct.sample("level", dist.Occupation(gas))
        return pnct.sample("electron", dist.Born(gas.orbitals, state, Attracted(*jnp.zeros(2), jnp.zeros(2))))

    vfe = VariationalFreeEnergy(program, pnct.hamiltonian, natural_gradient(), num_walkers=8)
    with pytest.raises(ValueError, match="Expected every site to matter; got 'nucleus', on which neither"):
        vfe.init(KEY(0), GAS)


def test_a_factor_is_refused_by_name():
    from numpyro import factor

    def program(gas):
        factor("prior", 1.0)
        state = pnct.sample("level", dist.Occupation(gas))
        return pnct.sample("electron", dist.Born(gas.orbitals, state, Attracted(*jnp.zeros(2), jnp.zeros(2))))

    vfe = VariationalFreeEnergy(program, pnct.hamiltonian, natural_gradient(), num_walkers=8)
    with pytest.raises(ValueError, match=r"Expected every observed site to be a condition .*; got 'prior'"):
        vfe.init(KEY(0), GAS)
