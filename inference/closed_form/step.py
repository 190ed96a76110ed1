"""Both steps that have a closed form, one after the other: mixed states, and the Boltzmann
weights of p(K).
"""

import jax

from pnct.inference.closed_form.boltzmann_weights import fit_shell_energies, fit_untabulated
from pnct.inference.closed_form.diagonalisation import diagonalise
from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.sampling.sites import Params, module_of_kind, read_sites, state_at
from pnct.states.configuration_interaction import ConfigurationInteraction


def closed_form_step(vfe: VariationalFreeEnergy, key, params: Params, num_samples: int, system) -> Params:
    """The parameters after both steps, with fresh samples for each; those that the model has a use for.

    p(K) is left alone at T = 0, and where its site is observed or not the only classical one.
    """
    mix, weights = jax.random.split(key)
    if module_of_kind(params, ConfigurationInteraction) is not None:
        params = diagonalise(vfe, mix, params, num_samples, system)
    sites = read_sites(vfe.model, params, (system,))
    p_K = state_at(vfe.model, sites, params, (system,))
    if p_K is None or sites.classical != sites.state or vfe.hamiltonian_for((system,)).temperature == 0:
        return params
    if p_K.tabulated is not None:
        return fit_untabulated(vfe, weights, params, p_K, num_samples, system)
    return fit_shell_energies(vfe, weights, params, num_samples, system)
