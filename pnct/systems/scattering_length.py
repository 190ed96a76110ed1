r"""The scattering length a of a pair in 3D: at zero energy u = r psi of their relative motion is

    u'' = v(r) u,    u(0) = 0,    u -> const (r - a)    beyond the range of v,

integrated outwards; each zero of u is a bound state. Of a Poeschl-Teller well it is known in closed form,

    a mu = (pi/2) cot(pi lambda/2) + gamma_E + psi(lambda),    lambda (lambda - 1) = 2 v_0,

gamma_E the constant of Euler and psi the digamma function, from which the depth of a well of given a follows.
With u -> 1 - r/a, a well lambda v has d(-1/a)/d lambda = int v u^2 dr: the Wronskian of two depths.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy  # its parts when they are used: they take a third of a second

from pnct.systems.interactions import ShortRange
from pnct.systems.short_range import PoschlTeller
from pnct.validation import checked_number

DEEPEST = 6.0  # v_0 at which a Poeschl-Teller well binds its second state
RESONANT = 1e9  # ranges, beyond which a is infinite to rounding


class ZeroEnergy(NamedTuple):
    """a, and int v u^2 dr of the u that is 1 - r/a beyond the range of v; at unitarity 1."""

    scattering_length: float
    slope: float


def scattering_length(interaction: ShortRange) -> float:
    """a, in the unit of length of the system; inf at unitarity.

    Raises ValueError for an interaction that is not of short range, and for a well with a second bound state,
    near which a no longer says what the pair does.
    """
    return zero_energy(interaction).scattering_length


def scattering_slope(interaction: ShortRange) -> float:
    """d(-1/a)/d lambda of the interaction lambda v at lambda = 1: int v u^2 dr, u -> 1 - r/a. Raises as
    scattering_length does.
    """
    return zero_energy(interaction).slope


def zero_energy(interaction: ShortRange) -> ZeroEnergy:
    """Both, from u integrated outwards."""
    if not isinstance(interaction, ShortRange):
        raise ValueError(
            "Expected an interaction of short range, such as PoschlTeller(v0, mu); got "
            f"{type(interaction).__name__}, which has no scattering length."
        )
    edge = interaction.reach(1e-16)

    def derivatives(r, state):
        u, du, _ = state
        v = float(interaction(np.asarray(r, float)))
        return du, v * u, v * u**2

    def node(r, state):
        return state[0]

    start = 1e-9 * edge
    path = scipy.integrate.solve_ivp(
        derivatives, (start, edge), (start, 1.0, 0.0), "DOP853", events=node, rtol=1e-11, atol=1e-13
    )
    u, du, integral = path.y[:, -1]
    a = edge - u / du if abs(u) < RESONANT * float(interaction.length) * abs(du) else math.inf
    nodes = len(path.t_events[0]) + (math.isfinite(a) and a > edge)
    if nodes > 1:
        raise ValueError(
            f"Expected a well with one bound state at most; got {interaction}, which has {nodes}. Make it "
            "shallower."
        )
    return ZeroEnergy(float(a), float(integral / (u - edge * du) ** 2))  # u - r u' is u at r = 0 from outside


def poschl_teller(inverse_scattering_length: float, mu: float) -> PoschlTeller:
    """The well of range 1/mu with this 1/a, and one bound state where 1/a > 0, none where it is <= 0.

    Raises ValueError unless 1/a is finite and mu > 0.
    """
    inverse = checked_number("1/a", inverse_scattering_length, math.isfinite, "finite")
    mu = checked_number("mu", mu, lambda x: x > 0, "> 0")

    def miss(v0):  # (1 - a/a(v0)) sin, finite for every a and v0
        half = math.pi * (1 + math.sqrt(1 + 8 * v0)) / 4
        sine = math.sin(half)
        g = np.euler_gamma + float(scipy.special.digamma(2 * half / math.pi))
        return sine - inverse / mu * (math.pi / 2 * math.cos(half) + g * sine)

    if inverse == 0:
        return PoschlTeller(1.0, mu)
    shallow, deep = (0.0, 1.0) if inverse < 0 else (1.0, DEEPEST)
    return PoschlTeller(scipy.optimize.brentq(miss, shallow, deep, xtol=1e-13), mu)
