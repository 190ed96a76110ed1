"""What is handed over by mistake gets a sentence that says what to pass; a warning points at its line."""

import copy
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_program
from numpyro.handlers import condition, seed
from tiny_program import GAS, MadeUpEnergy, model, routine

import pnct
from pnct import ElectronGas, HarmonicTrap, hamiltonian
from pnct.hamiltonian import ElectronHamiltonian, Hamiltonian
from pnct.inference import NumericalWarning, diagnose
from pnct.inference.observables.entropy import entropy
from pnct.inference.sampling.sites import init_params

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def vfe():
    return routine()


@pytest.fixture(scope="module")
def result(vfe):
    return vfe.run(KEY, 1, GAS, progress_bar=False)


@pytest.mark.parametrize(
    ("K", "message"),
    [
        ([0, 1], r"At site 'K': Expected an array; got a list\."),
        ((0, 1), r"At site 'K': Expected an array; got a tuple\."),
        ("ground state", r"At site 'K': Expected an array; got a str\."),
        (np.array([0.0, 1.0]), "At site 'K': Expected whole numbers, an array of integers; got float"),
        (jnp.array([0.0, 1.0]), "At site 'K': Expected whole numbers, an array of integers; got float"),
        (np.array([False, True]), "At site 'K': Expected whole numbers, an array of integers; got bool"),
    ],
)
def test_a_condition_that_is_no_array_of_orbitals_is_refused(K, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        routine(model=condition(model, {"K": K})).init(KEY, GAS)


@pytest.mark.parametrize("given", ["result", "params"])
def test_a_run_goes_on_from_a_state_alone(vfe, result, given):
    wrong = {"result": result, "params": result.params}[given]
    message = f"^Expected a TrainState, such as `result.state`; got a {type(wrong).__name__}.* To begin"
    for go_on in (
        lambda: vfe.run(KEY, 1, GAS, init_state=wrong, progress_bar=False),
        lambda: vfe.update(wrong, GAS),
    ):
        with pytest.raises(ValueError, match=message):
            go_on()


def test_parameters_are_a_dict_by_site_of_real_numbers(vfe, result):
    for wrong in (result, result.state):
        for use in (
            lambda wrong=wrong: vfe.evaluate(KEY, wrong, 4, GAS),
            lambda wrong=wrong: entropy(model, KEY, wrong, 4, GAS),
        ):
            with pytest.raises(ValueError, match=f"such as `result.params`; got a {type(wrong).__name__}"):
                use()
    of_complex = jax.tree.map(lambda x: x + 0j, result.params)
    with pytest.raises(ValueError, match=r"^Expected real parameters; got complex.* at 'levels/logits'"):
        vfe.evaluate(KEY, of_complex, 4, GAS)


def test_a_complex_parameter_of_a_model_is_refused_before_the_first_step():
    def program(gas):
        pnct.param("phase", jnp.ones((), complex))
        return model(gas)

    with pytest.raises(ValueError, match=r"^Expected real parameters; got complex.* at 'phase'"):
        routine(model=program).init(KEY, GAS)


@pytest.mark.parametrize("start", [0.5, jnp.asarray(0.5)], ids=["Python", "weak"])
def test_a_parameter_that_begins_as_a_number_has_the_type_of_all_later_ones(start):
    """Otherwise the second step would be compiled again."""

    def program(gas):
        pnct.param("number", start)
        return model(gas)

    assert not init_params(program, KEY, (GAS,))["number"].weak_type


def test_a_seeded_model_is_refused():
    with pytest.raises(ValueError, match=r"Expected a model without a random key; .* draws site 'K'"):
        routine(model=seed(model, KEY)).init(KEY, GAS)


@pytest.mark.parametrize(
    ("other", "different"),
    [
        (ElectronGas((2, 0), 2, 4.0, 0.6, 0.1, 3.0), r"logits has shape \(5,\) in place of \(9,\)"),
        (ElectronGas((3, 0), 2, 4.0, 0.6, 0.1, 1.3), "its constants, such as electron numbers"),
    ],
)
def test_parameters_of_another_table_or_number_of_electrons_are_refused(vfe, result, other, different):
    message = f"^Expected the parameters of module '.*' as they are made for these arguments; .*{different}"
    for use in (
        lambda: vfe.evaluate(KEY, result.params, 4, other),
        lambda: vfe.run(KEY, 1, other, init_state=result.state, progress_bar=False),
    ):
        with pytest.raises(ValueError, match=message):
            use()


def test_only_update_is_called_inside_of_jit(vfe, result):
    for use in (
        jax.jit(lambda key: vfe.run(key, 1, GAS, progress_bar=False)),
        jax.jit(lambda key: vfe.run(KEY, 1, GAS, init_state=result.state, progress_bar=False)),
        jax.jit(lambda key: vfe.evaluate(key, result.params, 4, GAS)),
        lambda key: jax.vmap(lambda key: vfe.init(key, GAS))(key[None]),
    ):
        with pytest.raises(ValueError, match=r"^Expected a call outside of jit, .* use `update`\."):
            use(KEY)
    once, _ = vfe.update(result.state, GAS)
    scanned, _ = jax.lax.scan(lambda state, _: vfe.update(state, GAS), result.state, length=1)
    assert int(scanned.step) == int(once.step) == 2
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), once.params, scanned.params)


class Scaleless(Hamiltonian):
    temperature: float

    def __call__(self, measured, values):
        raise AssertionError("Nothing is asked of what cannot be made.")


def test_a_hamiltonian_without_its_scale_is_refused():
    with pytest.raises(ValueError, match=r"^Expected Scaleless with .*; got none of energy_scale and unit"):
        Scaleless(1.0)
    with pytest.raises(ValueError, match=r"^Expected ElectronHamiltonian .*; got none of energy_scale"):
        ElectronHamiltonian(temperature=1.0, kinetic_prefactor=0.5, potential=jnp.sum)
    for whole in (hamiltonian(GAS), MadeUpEnergy()):
        copied = copy.deepcopy(whole)
        assert type(copied) is type(whole) and copied.unit == whole.unit


def test_what_is_no_system_has_no_hamiltonian():
    with pytest.raises(ValueError, match=r"^Expected a system, such as ElectronGas; got a function"):
        hamiltonian(model)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: ElectronGas((2, 0), rs=x), "rs"),
        (lambda x: ElectronGas((2, 0), theta=x), "theta"),
        (lambda x: HarmonicTrap((2, 0), beta=x), "beta"),
    ],
)
def test_a_traced_number_of_a_system_is_refused_with_the_way_to_set_it(make, name):
    message = rf"^Expected {name} to be one number .*; got a traced value\. .*eqx.tree_at"
    for transform in (jax.jit, jax.grad):
        with pytest.raises(ValueError, match=message):
            transform(lambda x: make(x).temperature)(2.0)
    rs = 3.0
    energy = jax.grad(lambda rs: eqx.tree_at(lambda system: system.rs, GAS, rs).E_F)(rs)
    assert float(energy) == pytest.approx(-2 * GAS.fermi_wavevector**2 / (2 * rs**3), rel=1e-6)


@pytest.mark.parametrize("number", [(1.5, 1), (1, np.nan), ("a", 1), 7, (1, 2, 3)])
def test_electrons_are_whole(number):
    with pytest.raises(ValueError, match=r"^Expected num_electrons = \(up, down\), two whole numbers; got"):
        ElectronGas(number)


def test_draws_are_not_yet_what_is_diagnosed(vfe, result):
    with pytest.raises(ValueError, match=r"^Expected what to_arviz gives; .* diagnose\(to_arviz\(draws\)\)"):
        diagnose(vfe.evaluate(KEY, result.params, 4, GAS))


def test_a_numerical_warning_points_at_the_line_of_the_user():
    class Broken(MadeUpEnergy):
        def __call__(self, born, values):
            return super().__call__(born, values)._replace(potential=jnp.nan * values.measured[0, 0])

    vfe = routine(hamiltonian=Broken())
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        params = vfe.run(KEY, 1, GAS, progress_bar=False).params
        vfe.evaluate(KEY, params, 4, GAS)
    found = [w for w in found if issubclass(w.category, NumericalWarning)]
    lines = [Path(w.filename).read_text().splitlines()[w.lineno - 1] for w in found]
    assert {w.filename for w in found} == {__file__} and tiny_program.__file__ != __file__
    assert "vfe.run" in lines[0] and "vfe.evaluate" in lines[-1]
