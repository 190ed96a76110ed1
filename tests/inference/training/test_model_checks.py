"""A flow or a Hamiltonian that cannot be right is refused before the first step, by the name of the site."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_program import GAS, Levels, MadeUpEnergy, Shift, routine

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, HarmonicTrap, coulomb, hamiltonian
from pnct.flows import Flow, backflow, continuous, ferminet
from pnct.hamiltonian import ElectronHamiltonian
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.sampling.sites import init_params, read_sites
from pnct.inference.training.model_checks import check_hamiltonian, measured_check, potential_check
from pnct.states.spin_adapted import spin_adapted

KEY = jax.random.key(0)


class MadeUpFlow(Flow):
    """T = R + w V(R), the identity at first."""

    w: jax.Array
    kind: str = eqx.field(static=True)

    def __call__(self, R):
        kR = 2 * np.pi / GAS.L * R
        if self.kind == "numbered":
            return R + self.w * jnp.sin(kR) * jnp.arange(len(R))[:, None]
        if self.kind == "aperiodic":
            return R + self.w * jnp.sin(kR / 2)
        if self.kind == "aperiodic alike":  # for all electrons
            return R + self.w * jnp.mean(R, axis=0)
        if self.kind == "folded":
            return R + (2.0 + self.w) * jnp.sin(kR) * GAS.L / (2 * np.pi)
        if self.kind == "nan":
            return R + self.w + jnp.nan
        return jnp.concatenate([R, R[:, :1]], axis=1)


def model(kind):
    def program(gas):
        flow = pnct.module("flow", lambda key: MadeUpFlow(jnp.zeros(()), kind))
        K = pnct.sample("K", dist.Occupation(gas))
        return pnct.sample("electrons", dist.Born(gas.orbitals, K, flow))

    return program


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("numbered", "Expected an equivariant flow, .*; got a difference of 0"),
        ("aperiodic", r"Expected a periodic flow, T\(R \+ L n\) = T\(R\) \+ L n; got a difference of 0"),
        ("aperiodic alike", "Expected a periodic flow"),
        ("folded", "Expected a one-to-one flow, det J > 0, .* got det J <= 0, or no number, at [0-9]+ of 16"),
        ("nan", ".*got det J <= 0, or no number, at 16 of 16"),
        ("one axis more", r"Expected a flow R -> zeta of one shape, \(2, 2\); got zeta of shape \(2, 3\)"),
    ],
)
def test_a_flow_that_cannot_be_right_is_refused_by_its_site(kind, message):
    with pytest.raises(ValueError, match=f"^At site 'electrons': {message}"):
        routine(model=model(kind)).init(KEY, GAS)


class Wrong(MadeUpEnergy):
    """A Hamiltonian with one thing that is wrong."""

    kind: str = eqx.field(static=True, default="")

    def __call__(self, born, values):
        energy = super().__call__(born, values)
        R = values.measured
        if self.kind == "per electron":
            return energy._replace(potential=jnp.cos(R[:, 0]))
        if self.kind == "a number":
            return energy.total
        return energy._replace(potential=jnp.sum(R * jnp.ones((3, 1))))


class Drift(Flow):
    """T = R + w (P V(R) + P), V(R) of one centre or of pairs."""

    w: jax.Array
    P: jax.Array
    of_pairs: bool = eqx.field(static=True, default=True)

    def __call__(self, R):
        r = R[:, None] - R if self.of_pairs else R[:, None]
        return R + self.w * self.P * jnp.sum(jnp.sin(2 * np.pi / GAS.L * r), axis=1)


@pytest.mark.parametrize(
    ("depends", "message"),
    [
        (
            lambda gas, K, w: Drift(w, jnp.sum(K**2)),
            "Expected one flow for all states, or for all of the same quantum numbers",
        ),
        (
            lambda gas, K, w: Drift(w, gas.orbitals.quantum_numbers(K), False),
            "Expected a flow that depends on quantum numbers to conserve them",
        ),
        (lambda gas, K, w: Drift(w, gas.orbitals.quantum_numbers(K)), None),
    ],
)
def test_a_flow_that_depends_on_more_than_the_quantum_numbers_is_refused(depends, message):
    def program(gas):
        w = pnct.param("w", jnp.zeros(()))
        K = pnct.sample("K", dist.Occupation(gas))
        return pnct.sample("electrons", dist.Born(gas.orbitals, K, depends(gas, K, w)))

    if message is None:
        routine(model=program).init(KEY, GAS)
        return
    with pytest.raises(ValueError, match=f"^At site 'electrons': {message}.*; got a difference of [0-9]"):
        routine(model=program).init(KEY, GAS)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("per electron", r"got potential of shape \(2,\)"),
        ("a number", "got .*Tracer"),
        ("of three electrons", r"got TypeError: .*\(2, 2\)"),
    ],
)
def test_a_hamiltonian_of_another_shape_is_refused_by_the_site(kind, message):
    vfe = routine(hamiltonian=Wrong(kind=kind))
    state = routine().init(KEY, GAS)
    for use in (
        lambda: vfe.init(KEY, GAS),
        lambda: vfe.update(state, GAS),
        lambda: vfe.evaluate(KEY, state.params, 4, GAS),
    ):
        with pytest.raises(
            ValueError, match=rf"^At site 'R': Expected a hamiltonian .*of shape \(2, 2\); {message}"
        ):
            use()


def pair_potential(nearest):
    """Gaussians of all distances."""

    def potential(R):
        r = (R[:, None] - R)[np.triu_indices(len(R), 1)]
        r = r - GAS.L * jnp.round(r / GAS.L) if nearest else r
        return jnp.sum(jnp.exp(-jnp.sum(r**2, axis=-1)))

    return potential


def lattice(R):
    """Periodic, and of no electron in particular."""
    return jnp.sum(jnp.cos(2 * np.pi / GAS.L * R))


def numbered(R):
    """Periodic, but the first electron is another."""
    return jnp.cos(2 * np.pi / GAS.L * R[0, 0])


UNEQUAL = (ElectronGas((1, 1), 2, 4.0, 0.6, 0.1, 1.3), HarmonicTrap((2, 1), coupling=2.0, beta=1.0))


@pytest.mark.parametrize(
    ("system", "potential", "message"),
    [
        (GAS, lambda R: 0.1 * jnp.sum(R**2), "does not change under a translation"),
        (GAS, pair_potential(nearest=False), r"does not change under a translation .*space\.nearest\(r, L\)"),
        (GAS, numbered, "does not change under an exchange of electrons of one spin"),
        (UNEQUAL[1], lambda R: jnp.sum(R[0] ** 2), "does not change under an exchange"),
        (GAS, lambda R: jnp.where(R[0, 0] > GAS.L / 2, jnp.inf, 1.0), None),  # named when it is met
        (GAS, lambda R: lattice(R) * (1 + 0.1j), "got a potential that is complex"),
        (GAS, lattice, None),
        (GAS, pair_potential(nearest=True), None),
        (GAS, lambda R: jnp.zeros(()), None),
        (GAS, lambda R: jnp.inf * jnp.ones(()), None),
        (UNEQUAL[0], numbered, None),  # of one up electron
        (UNEQUAL[1], lambda R: jnp.sum(R[:2] ** 2) + 2 * jnp.sum(R[2] ** 2), None),  # a trap of each spin
    ],
)
def test_a_potential_that_cannot_be_right_is_refused_before_the_first_step(system, potential, message):
    def program(system):
        K = jnp.asarray(system.ground_state)
        return pnct.sample("electrons", dist.Born(system.orbitals, K, MadeUpFlow(jnp.zeros(()), "numbered")))

    energy = hamiltonian(system, potential=potential)
    for x64 in (False, True):
        with jax.enable_x64(x64):
            sites = read_sites(program, {}, (system,))
            if message is None:
                potential_check(program, sites, energy, {}, (system,))()
                continue
            with pytest.raises(ValueError, match=f"^At site 'electrons': Expected .*{message}"):
                potential_check(program, sites, energy, {}, (system,))()


def test_the_potential_of_ones_own_hamiltonian_is_looked_at_wherever_one_is_met():
    """Before a run and before an evaluation, with nothing but the contract of a Hamiltonian."""

    class Numbered(MadeUpEnergy):
        def __call__(self, born, values):
            return super().__call__(born, values)._replace(potential=numbered(values.measured))

    vfe = routine(hamiltonian=Numbered())
    state = routine().init(KEY, GAS)
    for use in (lambda: vfe.init(KEY, GAS), lambda: vfe.evaluate(KEY, state.params, 4, GAS)):
        with pytest.raises(ValueError, match=r"^At site 'R': Expected a potential energy .* exchange"):
            use()


POLARISED = ElectronGas((3, 0), 2, 4.0, 0.4, 0.1, 2.0)
DOT = HarmonicTrap((1, 1), coupling=2.0, beta=1.0)


@pytest.mark.parametrize(
    ("made_for", "given", "different"),
    [
        (
            ElectronGas((3, 0), 2, 5.0, 0.4, 0.1, 2.0),
            POLARISED,
            r"kinetic_prefactor \(0.02 there, 0.03125 here\), 1 more",
        ),
        (ElectronGas((3, 0), 2, 4.0, 0.3, 0.1, 2.0), POLARISED, r"temperature \(0.0375 there, 0.05 here\)"),
        (
            ElectronGas((2, 1), 2, 4.0, 0.4, 0.1, 2.0),
            POLARISED,
            r"energy_scale .* potential.ewald.space.num_electrons\[0\]",
        ),
        (
            HarmonicTrap((1, 1), coupling=8.0, beta=1.0),
            DOT,
            r"potential.between.coupling \(8.0 there, 2.0 here\)",
        ),
    ],
)
def test_a_hamiltonian_of_another_system_is_refused_before_the_first_step(made_for, given, different):
    message = f"^Expected the hamiltonian of the system of the model; got one that differs in .*{different}"
    with pytest.raises(ValueError, match=message):
        routine(model=lambda system: None, hamiltonian=hamiltonian(made_for)).init(KEY, given)


@pytest.mark.parametrize(("made_for", "given"), [(DOT, POLARISED), (POLARISED, DOT)])
def test_a_hamiltonian_of_another_kind_of_system_is_refused(made_for, given):
    message = f"^Expected the hamiltonian of the model's {type(given).__name__}; got one with the potential"
    for interaction in (coulomb, None):
        with pytest.raises(ValueError, match=message):
            check_hamiltonian(hamiltonian(made_for, interaction), (given, 3))


@pytest.mark.parametrize("system", [POLARISED, DOT])
def test_the_hamiltonian_of_the_system_passes_and_so_does_a_potential_of_ones_own(system):
    own = ElectronHamiltonian(
        temperature=1.0, energy_scale=1.0, kinetic_prefactor=1.0, potential=lambda R: jnp.sum(R)
    )
    for energy in (hamiltonian(system), hamiltonian(system, interaction=None), own, MadeUpEnergy()):
        for x64 in (True, False):
            with jax.enable_x64(x64):
                check_hamiltonian(routine(hamiltonian=energy).hamiltonian, (system, 3))


@pytest.mark.parametrize(
    ("system", "make", "dtype"),
    [
        (ElectronGas((2, 1), 3, 4.0, 0.4, 0.1, 2.0), ferminet, np.float32),
        (ElectronGas((2, 1), 3, 4.0, 0.4, 0.1, 2.0), backflow, np.float64),
        (HarmonicTrap((2, 1), coupling=2.0, beta=1.0), continuous, np.float64),
    ],
)
def test_flows_that_are_right_pass(system, make, dtype):
    def program(gas):
        flow = pnct.module("flow", make(gas.space))
        return pnct.sample("R", dist.Born(gas.orbitals, jnp.asarray(gas.ground_state), flow))

    params = jax.tree.map(lambda x: x.astype(dtype), init_params(program, KEY, (system,)))
    measured_check(program, read_sites(program, params, (system,)), params, (system,))()


class OfUp(Flow):
    """Moves the up electrons alone, along their distances from the down electrons."""

    w: jax.Array

    def __call__(self, R):
        r = R[:1] - R[1:]
        return R.at[0].add(self.w * jnp.sum(jnp.sin(2 * np.pi / PAIR.L * r), axis=0))


PAIR = ElectronGas((1, 1), 2, twist=0.25, cutoff=2.0)


@pytest.mark.parametrize(
    ("of_parity", "message"), [(True, "to conserve them, moving with the electrons"), (False, None)]
)
def test_a_flow_for_each_parity_has_to_treat_both_spins_alike(of_parity, message):
    def program(gas):
        orbitals, w = spin_adapted(gas.orbitals), pnct.param("w", jnp.zeros(()))
        K = pnct.sample("K", dist.Occupation(gas))
        parity = orbitals.quantum_numbers(K)[-1] if of_parity else 1.0
        return pnct.sample("electrons", dist.Born(orbitals, K, OfUp(w * parity)))

    vfe = VariationalFreeEnergy(program, hamiltonian(PAIR), natural_gradient(), num_walkers=8)
    if message is None:
        vfe.init(KEY, PAIR)
        return
    with pytest.raises(ValueError, match=message):
        vfe.init(KEY, PAIR)


def test_a_model_is_looked_at_with_arrays_of_jax():
    seen = []

    def spied(gas):
        levels = pnct.module("levels", lambda key: Levels(jnp.zeros(len(gas.orbitals))))
        seen.append(levels.logits)
        K = pnct.sample("K", dist.Occupation(gas, levels))
        shift = Shift(jnp.zeros(gas.dim), 0.9, 2 * np.pi / gas.L)
        return pnct.sample("R", dist.Born(gas.orbitals, K, shift))

    routine(model=spied).init(KEY, GAS)
    assert seen and all(isinstance(logits, jax.Array) for logits in seen)
