"""Dependencies read off a program are those of its derivatives, and whole loops count as one equation."""

import jax
import jax.numpy as jnp

from pnct.inference.sampling.dependencies import dependencies

INPUTS = {"a": jnp.ones(()), "b": {"c": jnp.ones(2), "d": jnp.ones(3)}, "e": jnp.ones(())}


def test_the_names_of_what_is_used_in_their_order():
    def f(x):
        return x["e"] * jnp.sum(x["b"]["d"]), jnp.zeros(3)

    assert dependencies(f, INPUTS) == ("b", "e")


def test_what_no_output_needs_is_not_used():
    def f(x):
        _ = jnp.sin(x["a"])
        return x["e"]

    assert dependencies(f, INPUTS) == ("e",)


def test_gradients_stop_where_they_are_stopped():
    def f(x):
        return jnp.sin(jax.lax.stop_gradient(x["a"])) * x["e"]

    slopes = jax.grad(f)(INPUTS)
    assert slopes["a"] == 0 and slopes["e"] != 0
    assert dependencies(f, INPUTS) == ("a", "e") and dependencies(f, INPUTS, gradients=True) == ("e",)


def test_an_index_is_a_dependence_too():
    def f(x):
        return jnp.arange(3.0)[x["a"].astype(int)]

    assert dependencies(f, INPUTS) == ("a",)


def test_a_compiled_program_is_read_too():
    @jax.jit
    def both(a, e):
        return 2 * jax.lax.stop_gradient(a), jax.jit(jnp.sin)(3 * e)

    assert dependencies(lambda x: both(x["a"], x["e"])[1], INPUTS) == ("e",)
    assert dependencies(lambda x: both(x["a"], x["e"]), INPUTS) == ("a", "e")
    assert dependencies(lambda x: both(x["a"], x["e"]), INPUTS, gradients=True) == ("e",)


def test_a_loop_counts_as_a_whole():
    def both(x):
        return jax.lax.fori_loop(0, 3, lambda i, carry: (2 * carry[0], 3 * carry[1]), (x["a"], x["e"]))

    assert dependencies(lambda x: both(x)[1], INPUTS) == ("a", "e")
