r"""The contracts of the distributions of a model: what is measured,  x ~ |Psi(x)|^2,  and which state it is
in,  K ~ p(K).

The inference routine finds the one measured site of a model, and the distribution of its states, by these two
classes. It knows no implementation by name: electrons in a cell or a trap (`Born`), the bits of a circuit, or
a user's own.
"""

import abc
from collections.abc import Callable, Sequence
from typing import NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int


class Requirement(NamedTuple):
    """Something that a measured distribution has to obey: what is expected, what came instead, and by how
    much.

    `violation` is 0 where it is obeyed; `got` is formatted with it.
    """

    expected: str
    got: str
    violation: Float[Array, ""]


class Measured(distrax.Distribution):
    """x ~ |Psi(x)|^2, one site of a model, with everything else of the model before it.

    An implementation has event_shape and dtype, as every distrax distribution, and

        log_psi(x)      ln Psi(x), complex, normalised: sum or integral of |Psi|^2 is one
        draw(key)       (x, whether it is an exact sample). True itself where all samples are exact; where
                        the draw of a continuous x can fail, x is where a Markov chain may go on from
        dims            names of the axes of x; energies are counted per entry of the first one
        label           a vector that says which state it is, for reports: occupied orbitals, bits of K
        closeness(x)    a number that is small where x is dangerous (a distance), for reports
        diagnostics(x)  numbers by name that are kept with every sample. `log_det_jacobian` and `det_sign`
                        are known by name: det_sign <= 0 where a change of variables is not one-to-one
        all_values()    every x there is, where a sum over them may stand in the place of samples
        check(moved)    what has to hold before the first step
        equivalent_values()  pairs of values that are physically the same, and have one potential energy
    """

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()

    @property
    @abc.abstractmethod
    def dims(self) -> tuple[str, ...]:
        """The names of the axes of x, such as ("electron", "axis")."""

    @property
    @abc.abstractmethod
    def label(self) -> Array:
        """Which state it is, a vector."""

    @abc.abstractmethod
    def log_psi(self, x: ArrayLike) -> Complex[Array, ""]:
        """ln Psi(x) of one configuration, the phase up to a multiple of 2 pi."""

    def log_modulus_and_phase(self, x: ArrayLike) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """ln|Psi(x)| and the phase, to be differentiated apart, where one of them depends on less."""
        log_psi = self.log_psi(x)
        return jnp.real(log_psi), jnp.imag(log_psi)

    @abc.abstractmethod
    def draw(self, key: Array) -> tuple[Array, Bool[Array, ""] | bool]:
        """One configuration, and whether it is an exact sample."""

    def closeness(self, x: ArrayLike) -> Float[Array, ""]:
        """Small where x is dangerous; by default nothing is."""
        return jnp.asarray(jnp.inf)

    def diagnostics(self, x: ArrayLike) -> dict[str, Float[Array, ""]]:
        """Numbers of one configuration by name; by default none."""
        return {}

    def all_values(self) -> Array | None:
        """Every x there is, along a first axis, where these are few enough to be summed over; by default
        None.
        """
        return None

    def check(self, moved: Callable[[Array], "Measured"]) -> tuple[Requirement, ...]:
        """What has to hold before the first step; by default nothing.

        self: the distribution at the first parameters.  moved: key -> the same at parameters moved at random
        and in another state, drawn with the key, all other sites of the model being equal.
        """
        return ()

    def equivalent_values(self) -> dict[str, tuple[Array, Array]]:
        """Pairs (x, x') of values that are physically the same, stacked along a first axis, by what leads
        from x to x'; by default none. No potential energy may tell them apart.
        """
        return {}

    def log_prob(self, value: ArrayLike) -> Float[Array, "*batch"]:
        """2 Re ln Psi(x)."""

        def one(x):
            return 2 * jnp.real(self.log_psi(x))

        for _ in range(jnp.ndim(value) - len(self.event_shape)):
            one = jax.vmap(one)
        return one(value)

    def _sample_n(self, key, n):
        return jax.vmap(lambda key: self.draw(key)[0])(jax.random.split(key, n))


class Checked(distrax.Distribution):
    """A distribution that looks at a value which its site is conditioned on."""

    @abc.abstractmethod
    def check(self, value) -> None:
        """Raises ValueError unless it is one of its values."""


class StateDistribution(Checked):
    """K ~ p(K), which names the states of the measured distribution, as the inference routine needs it.

    network: its module, or None.  Closed-form steps move `network`'s shell energies and what `tabulated`
    lists.
    """

    network: object | None

    @abc.abstractmethod
    def tempered(self, power) -> "StateDistribution":
        """The distribution with every conditional raised to this power and normalised again: below 1,
        broader.
        """

    @abc.abstractmethod
    def check(self, K: Int[ArrayLike, " N"] | Sequence[int]) -> None:
        """Raises ValueError unless K is a state."""

    @property
    def tabulated(self) -> Int[np.ndarray, "S N"] | None:
        """The states with a weight of their own, None where all weights come from the network."""
        return None
