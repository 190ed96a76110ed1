"""Another measured variable than electrons: two spins, Psi_K(x) = <x|U|K> with one angle, against
enumeration.

    H = -J Z_1 Z_2 - Gamma (X_1 + X_2),    U = exp(i phi Z_1 Z_2) R(theta) R(theta),   R a rotation

The same routine, natural gradient, checkpoints, ArviZ export and diagnosis as for electrons.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, Float
from scipy.optimize import minimize

import pnct
from pnct.distributions.base import Measured, StateDistribution
from pnct.hamiltonian import Hamiltonian, LocalEnergy
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, to_arviz
from pnct.inference.sampling.batch import ladder

J = 0.6
GAMMA = 1.1
PHI = 0.3
T = 0.8
ALL = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])  # bits; spin up is 0
KEY = jax.random.key


def amplitude(theta, K, x):
    """<x|U|K>."""
    c = jnp.cos(theta / 2)
    s = jnp.sin(theta / 2)
    rotation = jnp.array([[c, -s], [s, c]])
    spins = 1 - 2 * x
    phase = PHI * spins[0] * spins[1]
    real = rotation[x[0], K[0]] * rotation[x[1], K[1]]
    return real * jax.lax.complex(jnp.cos(phase), jnp.sin(phase))


class Spins(Measured):
    """x ~ |<x|U|K>|^2 over bits."""

    def __init__(self, theta, K):
        self.theta = theta
        self.K = K

    @property
    def event_shape(self):
        return (2,)

    @property
    def dtype(self):
        return jnp.dtype(jnp.int32)

    @property
    def dims(self):
        return ("bit",)

    @property
    def label(self):
        return self.K

    def log_psi(self, x):
        return jnp.log(amplitude(self.theta, self.K, x))

    def draw(self, key):
        p = jnp.array([jnp.abs(amplitude(self.theta, self.K, x)) ** 2 for x in ALL])
        return jnp.asarray(ALL, jnp.int32)[jax.random.categorical(key, jnp.log(p))], True

    def diagnostics(self, x):
        return {"magnetisation": jnp.sum(1.0 - 2 * x)}


class Bits(StateDistribution):
    """p(K) by four logits."""

    def __init__(self, logits, power=1.0):
        self.network = None
        self.logits = logits
        self.power = power

    @property
    def event_shape(self):
        return (2,)

    @property
    def batch_shape(self):
        return ()

    @property
    def dtype(self):
        return jnp.dtype(jnp.int32)

    def tempered(self, power):
        return Bits(self.logits, self.power * power)

    def check(self, K):
        if np.shape(K) != (2,) or not np.all(np.isin(K, (0, 1))):
            raise ValueError(f"Expected two bits; got {np.asarray(K).tolist()}.")

    def log_prob(self, value):
        return jax.nn.log_softmax(self.power * self.logits)[2 * value[..., 0] + value[..., 1]]

    def _sample_n(self, key, n):
        return jnp.asarray(ALL, jnp.int32)[jax.random.categorical(key, self.power * self.logits, shape=(n,))]


class Ising(Hamiltonian):
    """The off-diagonal energy stands in the place of the kinetic one, the diagonal one in that of the
    potential.
    """

    temperature: float = T
    energy_scale: float = GAMMA
    unit: str = eqx.field(static=True, default="J")

    def __call__(self, measured, values):
        x = values.measured
        spins = 1 - 2 * x
        flipped = jnp.stack([x.at[i].set(1 - x[i]) for i in range(2)])
        ratios = jax.vmap(lambda y: jnp.exp(measured.log_psi(y) - measured.log_psi(x)))(flipped)
        return LocalEnergy(-GAMMA * jnp.sum(ratios), -J * spins[0] * spins[1] * 1.0)


def program(start=0.4):
    def two_spins(_):
        logits = pnct.param("weights", 0.4 * jnp.arange(4.0))
        theta = pnct.param("angle", jnp.asarray(start))
        spin_state = pnct.sample("spin_state", Bits(logits))
        return pnct.sample("outcome", Spins(theta, spin_state))

    return two_spins


MODEL = program()


def matrix() -> Float[np.ndarray, "4 4"]:
    Z = np.diag([1.0, -1.0])
    X = np.array([[0.0, 1], [1, 0]])
    one = np.eye(2)
    return -J * np.kron(Z, Z) - GAMMA * (np.kron(X, one) + np.kron(one, X))


def exact_free_energy(logits: Float[Array, "4"], theta):
    """F of the variational state by the sum over all K and x."""
    log_p = jax.nn.log_softmax(logits)
    return jnp.sum(jnp.exp(log_p) * (T * log_p + state_energies(theta)))


def state_energies(theta) -> Float[Array, "4"]:
    psi = jnp.array([[amplitude(theta, K, x) for x in ALL] for K in ALL])
    return jnp.real(jnp.einsum("kx,xy,ky->k", psi.conj(), matrix(), psi))


def broadened_energy(logits: Float[Array, "4"], theta):
    """E of the states as a training step draws them, which is what it moves the angle by."""
    powers = jnp.asarray(ladder(4096))
    q = jnp.mean(jax.nn.softmax(powers[:, None] * logits, axis=1), axis=0)
    return jnp.sum(q * state_energies(theta))


def test_states_are_orthonormal_and_drawn_from_their_density():
    psi = np.array([[amplitude(0.7, K, x) for x in ALL] for K in ALL])
    np.testing.assert_allclose(psi @ psi.conj().T, np.eye(4), atol=1e-12)
    spins = Spins(jnp.asarray(0.7), jnp.asarray([0, 1]))
    x = np.asarray(spins.sample(seed=KEY(0), sample_shape=(20_000,)))
    counts = np.bincount(2 * x[:, 0] + x[:, 1], minlength=4) / len(x)
    p = np.exp(np.asarray(spins.log_prob(jnp.asarray(ALL))))
    assert np.all(np.abs(counts - p) < 5 * np.sqrt(p * (1 - p) / len(x)) + 1e-12)


def test_free_energy_and_gradient_are_those_of_the_sum_over_all_states():
    """A step of plain gradient descent shows the gradient; 16 of them its error, 5 sigma."""
    vfe = VariationalFreeEnergy(MODEL, Ising(), optax.sgd(1.0), num_walkers=4096, chunk_size=512)
    start = vfe.init(KEY(0), None)
    found = []
    for i in range(16):
        state, _ = vfe.update(start._replace(key=KEY(i + 1)), None)
        moved = [GAMMA * (start.params[name] - state.params[name]) for name in ("weights", "angle")]
        found.append(np.concatenate([np.ravel(x) for x in moved]))
    logits = start.params["weights"]
    theta = start.params["angle"]
    slope = jax.grad(broadened_energy, argnums=1)(logits, theta)
    expected = np.append(jax.grad(exact_free_energy)(logits, theta), slope)
    error = np.std(found, axis=0, ddof=1) / 4
    assert np.all(error < [0.003, 0.003, 0.003, 0.003, 0.02])
    assert np.linalg.norm(expected[:4]) > 0.3 and abs(expected[4]) > 0.05
    assert np.all(np.abs(np.mean(found, axis=0) - expected) < 5 * error)

    draws = vfe.evaluate(KEY(0), start.params, 20_000, None)
    F = draws.estimates()["free_energy"]
    assert abs(F.value - exact_free_energy(start.params["weights"], start.params["angle"])) < 5 * F.error


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    vfe = VariationalFreeEnergy(MODEL, Ising(), natural_gradient(), num_walkers=512, chunk_size=128)
    directory = tmp_path_factory.mktemp("run")
    vfe.run(KEY(0), 30, None, progress_bar=False, checkpoint=directory)
    return vfe, vfe.run(KEY(0), 80, None, progress_bar=False, checkpoint=directory)


def test_a_run_resumes_bitwise(trained):
    vfe, resumed = trained
    at_once = vfe.run(KEY(0), 80, None, progress_bar=False)
    jax.tree.map(np.testing.assert_array_equal, at_once.params, resumed.params)


def test_training_finds_the_lowest_free_energy_of_the_ansatz(trained):
    vfe, result = trained
    best = minimize(lambda p: float(exact_free_energy(jnp.asarray(p[:4]), p[4])), [0, 0, 0, 0, 0.5])
    F = float(exact_free_energy(result.params["weights"], result.params["angle"]))
    assert -1e-9 < F - best.fun < 2e-3
    exact = -T * np.log(np.sum(np.exp(-np.linalg.eigvalsh(matrix()) / T)))
    assert exact < F

    idata = to_arviz(vfe.evaluate(KEY(1), result.params, 4096, None), result.history)
    posterior = idata["posterior"]
    assert posterior["outcome"].dims == ("chain", "draw", "bit")
    assert posterior["spin_state"].dims == ("chain", "draw", "bit")
    assert set(idata["sample_stats"].data_vars) >= {"magnetisation", "energy", "is_exact"}
    report = diagnose(idata, exact=exact / 2)
    assert "J per bit" in str(report) and "det J" not in str(report)
    assert abs(2 * report.free_energy.value - F) < 5 * 2 * report.free_energy.error


def test_bits_that_are_none_are_refused():
    from numpyro.handlers import condition

    vfe = VariationalFreeEnergy(
        condition(MODEL, {"spin_state": jnp.array([0, 2])}), Ising(), natural_gradient(), num_walkers=8
    )
    with pytest.raises(ValueError, match="At the conditioned site 'spin_state': Expected two bits"):
        vfe.init(KEY(0), None)
