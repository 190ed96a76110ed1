"""Dense hydrogen:  X ~ p(X) classical protons,  K ~ p(K | X) occupied bands,  R ~ |Psi_K,X(R)|^2."""

import pnct
import pnct.distributions as dist
from pnct.distributions import transformer
from pnct.flows import Composed, continuous, ferminet, proton_cusps


def hydrogen(plasma: pnct.Hydrogen, enhancement: float = 1.3):
    """Draws the protons of a plasma, a state of the electrons among them, and the electrons. Returns R, shape
    (N, 3), in units of r_s a_0; where there are no electrons, nothing, shape (N, 0).
    """
    protons = pnct.module("protons", continuous(plasma.proton_space, depth=2, width=16))
    X = pnct.sample("X", dist.Nuclei(plasma, protons))  # inverted by integrating backwards
    if not any(plasma.num_electrons):
        return pnct.sample("R", dist.NoElectrons(plasma.num_protons))

    electrons = plasma.given(X)
    occupation = pnct.module("occupation", transformer(electrons, layers=2, width=16))
    K = pnct.sample("K", dist.Occupation(electrons, occupation))
    cusps = pnct.module("cusps", proton_cusps(plasma.space, enhancement))
    flow = pnct.module("flow", ferminet(plasma.space, depth=2, width=16, nuclear=8))
    follow = Composed((cusps.around(X, plasma.rs), flow.around(X)))
    return pnct.sample("R", dist.Born(electrons.orbitals, K, follow))
