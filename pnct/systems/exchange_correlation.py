r"""The exchange-correlation free energy of the uniform electron gas in three dimensions, as GDSMFB fit it:

    f_xc(rs, theta) = -(1/rs) [w a + b rs^(1/2) + c rs]/[1 + d rs^(1/2) + e rs]

    x = theta,  w = 1 (xi = 0) or 2^(1/3) (xi = 1),  P_i = (i_1 + i_2 x^2 + i_3 x^4)/(1 + i_4 x^2 + i_5 x^4)
    a = 0.610887 tanh(1/x) (0.75 + 3.04363 x^2 - 0.09227 x^3 + 1.7035 x^4)/(1 + 8.31051 x^2 + 5.1105 x^4)
    b = tanh(x^(-1/2)) P_b,    d = tanh(x^(-1/2)) P_d,    e = tanh(1/x) P_e,    c = e [c_1 + c_2 exp(-c_3/x)]
    b_5 = (3/2)^(1/2) w b_3/lambda,    lambda = (4/9 pi)^(1/3)

at no polarisation (xi = 0) and at full polarisation (xi = 1), theta = T/T_F with T_F of that polarisation. a
is the exchange of Perrot and Dharma-wardana; b_5 makes the limit of high temperature that of Debye and
Hueckel. The entropy is its slope, s_xc = -(d f_xc/dT)_rs = -(1/E_F) d f_xc/d theta.

Groth, Dornheim, Sjostrom, Malone, Foulkes, Bonitz, Phys. Rev. Lett. 119, 135001 (2017).
"""

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import ArrayLike, Float
from scipy.special import expit

from pnct.systems.electron_gas import ElectronGas
from pnct.validation import checked_dim, checked_number

LAMBDA = (4 / (9 * np.pi)) ** (1 / 3)
EXCHANGE = 0.610887
B = {0: (0.3436902, 7.82159531356, 0.300483986662, 15.8443467125)}
B[1] = (0.84987704, 3.04033012073, 0.0775730131248, 7.57703592489)
C = {0: (0.8759442, -0.230130843551, 1.0), 1: (0.91126873, -0.0307957123308, 1.0)}
D = {0: (0.72700876, 2.38264734144, 0.30221237251, 4.39347718395, 0.729951339845)}
D[1] = (1.48658718, 4.92684905511, 0.0849387225179, 8.3269821188, 0.218864952126)
E = {0: (0.25388214, 0.815795138599, 0.0646844410481, 15.0984620477, 0.230761357474)}
E[1] = (0.27454097, 0.400994856555, 2.88773194962, 6.33499237092, 24.823008753)


class ExchangeCorrelation(NamedTuple):
    """Per electron: f_xc in hartree, s_xc in k_B, and s_0 of free electrons at infinite size, in k_B."""

    free_energy: float
    entropy: float
    ideal_entropy: float

    @property
    def entropy_ratio(self) -> float:
        """1 + s_xc/s_0: the entropy in units of that of free electrons."""
        return 1 + self.entropy / self.ideal_entropy


def exchange_correlation(rs: float, theta: float, polarisation: float = 0) -> ExchangeCorrelation:
    """GDSMFB at one state of the gas in three dimensions, in float64.

    theta: T/T_F, T_F of this polarisation.  polarisation: 0 (as many up as down) or 1 (all up).
    Errors: 0.3 % of f_xc by its authors; s_xc is a slope of the fit, which quotes no error for it.
    Raises ValueError at theta = 0, where the form is a limit, and at a polarisation between 0 and 1, where it
    is an interpolation.
    """
    rs = checked_number("rs", rs, lambda x: x > 0, "> 0")
    theta = checked_number("theta", theta, lambda x: x > 0, "> 0, since the fit is of finite temperatures")
    xi = checked_number(
        "polarisation", polarisation, lambda x: x in (0, 1), "0 or 1, since the fit has parameters for these"
    )
    E_F = ElectronGas((1, 1) if xi == 0 else (1, 0), 3, rs, 0.0).E_F
    with jax.enable_x64(True):
        value, slope = jax.value_and_grad(gdsmfb, argnums=1)(jnp.float64(rs), jnp.float64(theta), int(xi))
    return ExchangeCorrelation(float(value), -float(slope) / float(E_F), ideal_entropy(theta, 3))


def gdsmfb(rs: Float[ArrayLike, ""], theta: Float[ArrayLike, ""], xi: int) -> Float[jax.Array, ""]:
    """f_xc of xi = 0 or 1 in hartree per electron, in jax's own precision."""
    w = 2 ** (xi / 3)
    exchange = jnp.tanh(1 / theta) * _even(theta, 0.75, 3.04363, 1.7035, 8.31051, 5.1105, cubic=-0.09227)
    a = EXCHANGE * exchange
    b5 = (3 / 2) ** 0.5 * w * B[xi][2] / LAMBDA
    b = jnp.tanh(theta**-0.5) * _even(theta, *B[xi], b5)
    d = jnp.tanh(theta**-0.5) * _even(theta, *D[xi])
    e = jnp.tanh(1 / theta) * _even(theta, *E[xi])
    c1, c2, c3 = C[xi]
    c = e * (c1 + c2 * jnp.exp(-c3 / theta))
    return -(w * a + b * rs**0.5 + c * rs) / (rs * (1 + d * rs**0.5 + e * rs))


def _even(x, p1, p2, p3, p4, p5, cubic=0.0):
    return (p1 + p2 * x**2 + cubic * x**3 + p3 * x**4) / (1 + p4 * x**2 + p5 * x**4)


def ideal_entropy(theta: float, dim: int) -> float:
    """s_0 of free electrons at infinite size, in k_B per electron; rounding apart exact.

    With x = e/T and eta = mu/T, all of the same polarisation, n ~ x^(d/2 - 1)/(exp(x - eta) + 1):

        (2/d) theta^(-d/2) = int n dx,    s_0 = [(1 + 2/d) int x n dx]/int n dx - eta
    """
    dim = checked_dim(dim)
    theta = checked_number("theta", theta, lambda x: x > 0, "> 0")
    filled = 2 / dim * theta ** (-dim / 2)

    def moment(power, eta):
        """In t = x^(1/2), which removes the root at zero; beyond the cut n is exp(-40)."""
        top = np.sqrt(max(eta, 0.0) + 40)
        edges = np.unique(np.clip([0, np.sqrt(max(eta - 40, 0)), np.sqrt(max(eta, 0.0)), top], 0, top))

        def density(t):
            return 2 * t ** (2 * power + 1) * expit(eta - t**2)

        return sum(scipy.integrate.quad(density, *piece)[0] for piece in pairwise(edges))

    def miss(eta):
        return np.log(moment(dim / 2 - 1, eta) / filled)

    eta = scipy.optimize.brentq(miss, np.log(filled) - 5, 2 / theta + 40)
    return (1 + 2 / dim) * moment(dim / 2, eta) / filled - eta
