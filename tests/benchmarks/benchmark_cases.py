"""The cases of benchmark_table.py: systems, training steps, free energies with their sources."""

from collections.abc import Callable
from typing import NamedTuple

from pnct import ElectronGas
from pnct.models import electron_gas, few_electrons, unpolarised_gas

ED = "exact diagonalisation"
NETWORKS = "networks of Xie, Zhang, Wang, SciPost Phys. 14, 154 (2023), sampled exactly"
LOG = "training log of Xie, Zhang, Wang, SciPost Phys. 14, 154 (2023)"
VMC = "SJ-VMC of the QMCPACK heg tests"
DMC = "SJ-DMC of the QMCPACK heg tests"


class Reference(NamedTuple):
    """F per electron (E at T = 0), hartree, with its standard error; S of all electrons, k_B, where known."""

    source: str
    free_energy: float
    error: float
    entropy: float | None = None


class Case(NamedTuple):
    """One row of the table: from scratch in `steps` steps of `walkers` walkers, evaluated with `samples`."""

    num_electrons: tuple[int, int]
    dim: int
    rs: float
    theta: float
    twist: float
    steps: int
    references: tuple[Reference, ...] = ()
    walkers: int = 256
    samples: int = 32_768
    model: Callable = electron_gas

    @property
    def gas(self) -> ElectronGas:
        return ElectronGas(self.num_electrons, self.dim, self.rs, self.theta, self.twist)


def rydberg(source: str, free_energy: float, error: float, entropy: float | None = None) -> Reference:
    """A reference from values in Ry."""
    return Reference(source, free_energy / 2, error / 2, entropy)


def few(
    num_electrons: tuple[int, int], dim: int, rs: float, theta: float, twist: float, *exact: float
) -> Case:
    """Two or three electrons beside exact diagonalisation, with samples enough to see S as well."""
    return Case(
        num_electrons, dim, rs, theta, twist, 400, (rydberg(ED, *exact),), 512, 131_072, few_electrons
    )


AT_RS_10 = (
    rydberg(NETWORKS, -0.1691518, 5.6e-6, 29 * 0.15954),
    rydberg(LOG, -0.169068, 2.3e-5, 29 * 0.15903),
)
AT_REST = (Reference(VMC, -1.073323 / 14, 2.7e-5 / 14), Reference(DMC, -1.110199 / 14, 3.2e-5 / 14))
CASES = {
    "2d-3-rs1": few((3, 0), 2, 1.0, 0.15, 0.25, 0.034151, 1.4e-5, 0.293314),
    "2d-3-rs5": few((3, 0), 2, 5.0, 0.15, 0.25, -0.306334, 3e-6, 0.289774),
    "2d-3-rs10": few((3, 0), 2, 10.0, 0.15, 0.25, -0.175218, 2e-6, 0.289479),
    "2d-1+1-rs1": few((1, 1), 2, 1.0, 0.15, 0.25, -0.885501, 2.89e-4, 0.003895),
    "2d-1+1-rs5": few((1, 1), 2, 5.0, 0.15, 0.25, -0.337668, 1.6e-5, 0.046968),
    "3d-1+1-rs5": few((1, 1), 3, 5.0, 0.5, 0.0, -0.296363, 1.1e-5, 0.440261),
    "3d-1+1-rs10": few((1, 1), 3, 10.0, 0.5, 0.0, -0.151317, 2e-6, 0.488029),
    "3d-3-rs10": few((3, 0), 3, 10.0, 0.125, 0.0, -0.107797, 7e-6, 2.701917),
    "3d-3-rs10-hot": few((3, 0), 3, 10.0, 0.5, 0.0, -0.131183, 1.1e-5, 4.111116),
    "2d-13-rs1": Case((13, 0), 2, 1.0, 0.15, 0.25, 200),
    "2d-13-rs10": Case((13, 0), 2, 10.0, 0.15, 0.25, 100),
    "2d-29-rs0.25": Case(
        (29, 0), 2, 0.25, 0.15, 0.25, 150, (rydberg(LOG, 23.375787, 0.001281, 29 * 0.39587),)
    ),
    "2d-29-rs1": Case((29, 0), 2, 1.0, 0.15, 0.25, 150, (rydberg(NETWORKS, 0.15117, 2.9e-4, 29 * 0.35128),)),
    "2d-29-rs5": Case(
        (29, 0), 2, 5.0, 0.15, 0.25, 150, (rydberg(NETWORKS, -0.289664, 1.4e-5, 29 * 0.22369),)
    ),
    "2d-29-rs10": Case((29, 0), 2, 10.0, 0.15, 0.25, 150, AT_RS_10),
    "3d-7+7-rs5": Case((7, 7), 3, 5.0, 0.0, 0.0, 150, AT_REST, walkers=512, model=unpolarised_gas),
    "3d-7+7-rs5-flow": Case((7, 7), 3, 5.0, 0.0, 0.0, 200, AT_REST),
    "3d-7-rs4": Case((7, 0), 3, 4.0, 0.0625, 0.0, 150),
    "3d-7-rs10": Case((7, 0), 3, 10.0, 0.0625, 0.0, 150),
    "3d-19-rs4": Case((19, 0), 3, 4.0, 0.0625, 0.0, 150),
    "3d-19-rs10": Case((19, 0), 3, 10.0, 0.0625, 0.0, 150),
    "3d-33-rs4": Case((33, 0), 3, 4.0, 0.0625, 0.0, 150),
    "3d-33-rs10": Case((33, 0), 3, 10.0, 0.0625, 0.0, 150),
}
SMALL = tuple(name for name, case in CASES.items() if case.references and case.references[0].source == ED)
