r"""The scattering length a of a pair in 3D: at zero energy u = r psi of their relative motion is

    u'' = v(r) u,    u(0) = 0,    u -> const (r - a)    beyond the range of v,

integrated outwards; each zero of u is a bound state. Of a Poeschl-Teller well it is known in closed form,

    a mu = (pi/2) cot(pi lambda/2) + gamma_E + psi(lambda),    lambda (lambda - 1) = 2 v_0,

gamma_E the constant of Euler and psi the digamma function, from which the depth of a well of given a follows.
"""

import math

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import digamma

from pnct.systems.interactions import ShortRange
from pnct.systems.short_range import PoschlTeller
from pnct.validation import checked_number

DEEPEST = 6.0  # v_0 at which a Poeschl-Teller well binds its second state
RESONANT = 1e9  # ranges, beyond which a is infinite to rounding


def scattering_length(interaction: ShortRange) -> float:
    """a, in the unit of length of the system; inf at unitarity.

    Raises ValueError for an interaction that is not of short range, and for a well with a second bound state,
    near which a no longer says what the pair does.
    """
    if not isinstance(interaction, ShortRange):
        raise ValueError(
            "Expected an interaction of short range, such as PoschlTeller(v0, mu); got "
            f"{type(interaction).__name__}, which has no scattering length."
        )
    edge = interaction.reach(1e-16)

    def slope(r, u):
        return u[1], float(interaction(np.asarray(r, float))) * u[0]

    def zero(r, u):
        return u[0]

    start = 1e-9 * edge
    path = solve_ivp(slope, (start, edge), (start, 1.0), "DOP853", events=zero, rtol=1e-11, atol=1e-13)
    u, du = path.y[:, -1]
    size = float(interaction.length)
    a = edge - u / du if abs(u) < RESONANT * size * abs(du) else math.inf
    nodes = len(path.t_events[0]) + (math.isfinite(a) and a > edge)
    if nodes > 1:
        raise ValueError(
            f"Expected a well with one bound state at most; got {interaction}, which has {nodes}. Make it "
            "shallower."
        )
    return float(a)


def poschl_teller(inverse_scattering_length: float, mu: float) -> PoschlTeller:
    """The well of range 1/mu with this 1/a, and one bound state where 1/a > 0, none where it is <= 0.

    Raises ValueError unless 1/a is finite and mu > 0.
    """
    inverse = checked_number("1/a", inverse_scattering_length, math.isfinite, "finite")
    mu = checked_number("mu", mu, lambda x: x > 0, "> 0")

    def miss(v0):  # (1 - a/a(v0)) sin, finite for every a and v0
        half = math.pi * (1 + math.sqrt(1 + 8 * v0)) / 4
        sine = math.sin(half)
        g = np.euler_gamma + float(digamma(2 * half / math.pi))
        return sine - inverse / mu * (math.pi / 2 * math.cos(half) + g * sine)

    if inverse == 0:
        return PoschlTeller(1.0, mu)
    shallow, deep = (0.0, 1.0) if inverse < 0 else (1.0, DEEPEST)
    return PoschlTeller(brentq(miss, shallow, deep, xtol=1e-13), mu)
