"""Interactions of short range: the sum over pairs and images, units, scattering lengths, messages."""

import csv
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import digamma

from pnct import ElectronGas, Gaussian, HarmonicTrap, PoschlTeller, coulomb, hamiltonian, scattering_length
from pnct.systems import ShortRange, poschl_teller
from pnct.systems.scattering_length import scattering_slope

KINDS = {"Poeschl-Teller": PoschlTeller(0.7, 1.5), "Gaussian": Gaussian(-1.1, 0.6)}
kinds = pytest.mark.parametrize("v", KINDS.values(), ids=KINDS.keys())


def test_functions_of_the_distance():
    r = np.linspace(0, 3, 7)
    np.testing.assert_allclose(
        PoschlTeller(0.7, 1.5)(r), -2 * 0.7 * 1.5**2 / np.cosh(1.5 * r) ** 2, rtol=1e-12
    )
    np.testing.assert_allclose(Gaussian(-1.1, 0.6)(r), -1.1 * np.exp(-(r**2) / (2 * 0.6**2)), rtol=1e-12)


@kinds
def test_no_more_than_a_fraction_is_beyond_its_reach(v):
    for fraction in (1e-3, 1e-13):
        edge = v.reach(fraction)
        assert abs(v(edge)) <= fraction * abs(v(0.0)) * (1 + 1e-9) and abs(v(0.8 * edge)) > fraction * abs(
            v(0.0)
        )


@kinds
@pytest.mark.parametrize(
    "system",
    [
        HarmonicTrap((2, 3), dim=3),
        HarmonicTrap((1, 2)),
        ElectronGas((2, 3), 3, 2.5),
        ElectronGas((4, 1), 2, 0.7),
    ],
)
def test_sum_over_opposite_spins_and_all_images(v, system):
    """In the trap hbar omega, in the gas hartree/r_s^2 times v; there also moved by whole cells."""
    R = np.random.default_rng(0).uniform(-1.5, 1.5, (system.N, system.dim))
    up = system.num_electrons[0]
    n = np.zeros((1, system.dim))
    one_body, unit = np.sum(R**2) / 2, 1.0
    if isinstance(system, ElectronGas):
        axis = np.arange(-12, 13)
        n = np.stack(np.meshgrid(*[axis] * system.dim), axis=-1).reshape(-1, system.dim) * system.L
        one_body, unit = 0.0, 1 / system.rs**2
    pairs = [R[i] - R[j] for i in range(up) for j in range(up, system.N)]
    expected = unit * sum(float(np.sum(v(np.linalg.norm(r + n, axis=1)))) for r in pairs)
    V = hamiltonian(system, v).potential
    np.testing.assert_allclose(V(jnp.asarray(R)), one_body + expected, rtol=1e-11)
    if isinstance(system, ElectronGas):
        moved = R + system.L * np.random.default_rng(1).integers(-2, 3, R.shape)
        np.testing.assert_allclose(V(jnp.asarray(moved)), expected, rtol=1e-11)
    assert V(jnp.asarray(R, jnp.float32)).dtype == jnp.float32


def test_average_over_a_cell_is_the_integral_over_all_space():
    """int_cell sum_n v(|r + n L|) d^3r = int v d^3r, by the equidistant points of a periodic function."""
    gas, v = ElectronGas((1, 1), 3, 1.0), PoschlTeller(0.5, 3.0)
    axis = np.arange(20) / 20 * gas.L
    points = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 1, 3)
    V = hamiltonian(gas, v).potential
    R = jnp.asarray(np.concatenate([points, np.zeros_like(points)], axis=1))
    mean = np.mean(np.asarray(jax.jit(lambda R: jax.lax.map(V, R, batch_size=500))(R)))
    integral = 4 * math.pi * quad(lambda r: r**2 * float(v(r)), 0, 20)[0]
    assert mean == pytest.approx(integral / gas.L**3, rel=1e-6)


def test_scattering_length_of_the_references(reference):
    """The depths of the table at 1/a = -1, 0, 1 (mu = 4), and the Gaussian at unitarity."""
    with open(reference / "cold_atoms.csv") as file:
        rows = [
            r
            for r in csv.DictReader(file)
            if r["note"].startswith("1/a=") and r["strength"].startswith("v0=")
        ]
    found = {(r["strength"], r["range_parameter"], r["note"]) for r in rows}
    assert len(found) == 5
    for strength, range_parameter, note in found:
        v0, mu, inverse = (float(x.split("=")[1]) for x in (strength, range_parameter, note))
        assert 1 / scattering_length(PoschlTeller(v0, mu)) == pytest.approx(inverse, abs=2e-7)
        assert poschl_teller(inverse, mu).v0 == pytest.approx(v0, rel=1e-8)
    assert 1 / scattering_length(Gaussian(-1.3420023, 1.0)) == pytest.approx(0, abs=1e-6)
    assert 1 / scattering_length(Gaussian(-5.3680093, 0.5)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("v0", [1e-3, 0.5, 0.99, 1.3, 3.0, 5.0])
def test_scattering_length_in_closed_form(v0):
    """a mu depends on v0 alone; it is negative again before the well has its second state."""
    l = (1 + math.sqrt(1 + 8 * v0)) / 2
    expected = math.pi / 2 / math.tan(math.pi * l / 2) + np.euler_gamma + float(digamma(l))
    for mu in (0.7, 4.0):
        assert scattering_length(PoschlTeller(v0, mu)) * mu == pytest.approx(expected, rel=1e-7)


@kinds
def test_slope_of_the_inverse_scattering_length(v):
    """d(-1/a)/d lambda of lambda v, by differences of its depth; at unitarity too."""
    for well in (v, PoschlTeller(1.0, 4.0)):
        more, less = (jax.tree.leaves(well)[0] * (1 + h) for h in (1e-4, -1e-4))
        up, down = (scattering_length(type(well)(x, jax.tree.leaves(well)[1])) for x in (more, less))
        assert scattering_slope(well) == pytest.approx((1 / down - 1 / up) / 2e-4, rel=1e-5)


def test_weak_wells_scatter_as_born_says():
    """a -> int v r^2 dr, of either sign."""
    for V0 in (-1e-5, 1e-5):
        assert scattering_length(Gaussian(V0, 0.8)) == pytest.approx(
            V0 * 0.8**3 * math.sqrt(math.pi / 2), rel=1e-4
        )
    assert scattering_length(PoschlTeller(0.0, 2.0)) == pytest.approx(0, abs=1e-9)
    assert poschl_teller(0.0, 3.0).v0 == 1.0
    for inverse in (-1e3, -5.0, 3.0, 50.0):
        assert 1 / scattering_length(poschl_teller(inverse, 1.0)) == pytest.approx(inverse, rel=1e-4)


class Shell(ShortRange):
    """A function of one's own: v(r) = r^2 exp(-r^2)."""

    def __call__(self, r):
        return r**2 * jnp.exp(-(r**2))

    @property
    def length(self):
        return 1.0

    def reach(self, fraction):
        return math.sqrt(-2 * math.log(fraction)) + 1


def test_a_function_of_ones_own_is_one_class():
    trap = HarmonicTrap((1, 1), dim=3)
    R = jnp.array([[0.3, 0.0, 0.0], [0.0, 0.4, 0.0]])
    assert hamiltonian(trap, Shell()).potential(R) == pytest.approx(0.125 + 0.25 * math.exp(-0.25))
    assert scattering_length(Shell()) > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PoschlTeller(-0.1, 2.0), r"Expected v0 >= 0; got -0\.1"),
        (lambda: PoschlTeller(1.0, 0.0), r"Expected mu > 0; got 0\.0"),
        (lambda: PoschlTeller(1.0, -2.0), r"Expected mu > 0; got -2\.0"),
        (lambda: PoschlTeller(math.nan, 2.0), r"Expected v0 >= 0; got nan"),
        (lambda: Gaussian(-1.0, 0.0), r"Expected r0 > 0; got 0\.0"),
        (lambda: Gaussian(math.inf, 1.0), r"Expected V0 finite; got inf"),
        (lambda: poschl_teller(math.inf, 1.0), r"Expected 1/a finite; got inf"),
        (lambda: poschl_teller(1.0, 0.0), r"Expected mu > 0; got 0\.0"),
        (
            lambda: hamiltonian(HarmonicTrap((3, 0)), PoschlTeller()),
            r"Expected electrons of both spins, .* nothing interacts. .*interaction = None",
        ),
        (lambda: hamiltonian(ElectronGas((0, 3), 2), Gaussian(-1.0, 0.1)), "nothing interacts"),
        (
            lambda: hamiltonian(ElectronGas((1, 1), 3), PoschlTeller(1.0, 0.9)),
            r"Expected the length of the PoschlTeller below half the side of the cell, 1\.015; got 1\.111",
        ),
        (lambda: hamiltonian(ElectronGas((1, 1), 2), Gaussian(-1.0, 2.0)), "below half the side of the cell"),
        (
            lambda: hamiltonian(HarmonicTrap((1, 1)), False),
            r"Expected interaction to be coulomb, None, .*False",
        ),
        (lambda: hamiltonian(HarmonicTrap((1, 1)), jnp.exp), r"pair_potential\(system.space, v\)"),
        (lambda: scattering_length(coulomb), "Expected an interaction of short range, .*; got Coulomb"),
        (lambda: scattering_length(PoschlTeller(6.5, 2.0)), "one bound state at most; got .*which has 2"),
        (lambda: scattering_length(PoschlTeller(20.0, 2.0)), "one bound state at most; got .*which has 3"),
        (lambda: scattering_length(Gaussian(-20.0, 1.0)), "one bound state at most"),
    ],
)
def test_bad_input_is_named(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call()
