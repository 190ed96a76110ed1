"""What is computed once is not repeated where it is read, under any transformation; numbers stay the same."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pnct.compilation import compile_ahead, compiled, computed_once, in_background

X = jnp.linspace(0.1, 0.9, 36).reshape(3, 4, 3)
KEY = jax.random.key(1)
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
    for transform in (jax.jit, jax.vmap, lambda f: jax.jit(lambda x: f(X))):
        np.testing.assert_allclose(transform(Scaled().times)(X), jnp.sin(X), rtol=1e-15)


def test_options_are_for_programs_of_their_own(monkeypatch):
    """XLA refuses those of a part of a program, which quick tests compile without any."""
    monkeypatch.setattr(jax.config, "read", lambda name: False)
    times = compiled(lambda x: jnp.sin(x))
    np.testing.assert_allclose(times(X), jnp.sin(X), rtol=1e-15)
    np.testing.assert_allclose(jax.jit(lambda x: times(2 * x))(X), jnp.sin(2 * X), rtol=1e-15)


def test_a_program_from_the_background():
    program = eqx.filter_jit(lambda x, name: (jnp.cos(x), name))
    waiting = in_background(program, X, "phase")
    found, name = waiting()
    np.testing.assert_allclose(found, jnp.cos(X), rtol=1e-15)
    assert name == "phase"


def test_programs_compiled_ahead_are_those_that_run(caplog):
    """None is run before, and none is compiled again; what they return is followed by its shapes."""
    traces = []

    @compiled
    def doubled(x, name):
        traces.append(name)
        return 2 * x, jax.random.key(3), name

    @compiled
    def summed(x, key):
        traces.append("sum")
        return jnp.sum(x) + jax.random.uniform(key)

    def both(x):
        y, _, name = doubled(x, "name")
        assert name == "name"
        return summed(y, KEY)

    compile_ahead(both, X)
    assert traces == ["name", "sum"]
    with jax.log_compiles():
        found = both(X)
        assert traces == ["name", "sum"] and "XLA" not in caplog.text
        both(X[0])
        assert len(traces) == 4 and "XLA" in caplog.text
    np.testing.assert_allclose(found, 2 * jnp.sum(X) + jax.random.uniform(KEY), rtol=1e-14)


def test_what_fails_ahead_fails_again_where_it_is_called():
    @compiled
    def wrong(x):
        raise ValueError("Expected another x.")

    for call in (lambda: compile_ahead(wrong, X), lambda: wrong(X)):
        with pytest.raises(ValueError, match="another x"):
            call()
    np.testing.assert_allclose(Scaled().times(X), jnp.sin(X), rtol=1e-15)
