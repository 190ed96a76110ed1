"""What is computed once is not repeated where it is read, under any transformation; numbers stay the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pnct.compilation import compiled, computed_once

X = jnp.linspace(0.1, 0.9, 36).reshape(3, 4, 3)
COEFFICIENT = 0.123456789  # found in a program's text wherever the series is


def readers(keep):
    def f(x):
        y = keep(sum(COEFFICIENT * x**k for k in range(1, 6)))
        return y * x, jnp.sum(y * y, axis=-1), jnp.concatenate([y, x + y], axis=-1), y[::-1] - x

    return f


TRANSFORMED = {
    "plain": lambda f: f,
    "vmap": jax.vmap,
    "map": lambda f: lambda x: jax.lax.map(f, x[None]),
    "jvp": lambda f: lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),)),
}


@pytest.mark.parametrize("transform", TRANSFORMED)
def test_a_series_is_computed_once(transform):
    """XLA would repeat this one in each loop that reads it."""
    kept, free = (jax.jit(TRANSFORMED[transform](readers(keep))) for keep in (computed_once, lambda x: x))
    counts = [f.lower(X).compile().as_text().count(str(COEFFICIENT)) for f in (kept, free)]
    assert counts[0] < counts[1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14), kept(X), free(X))


class Scaled:
    @compiled
    def times(self, x):
        return jnp.sin(x)


def test_a_compiled_method_is_the_function():
    assert Scaled.times.__name__ == "times"
    np.testing.assert_allclose(Scaled().times(X), jnp.sin(X), rtol=1e-15)
    assert "sine" in Scaled.times.lower(Scaled(), X).as_text()
