"""Free energies beside exact diagonalisation, the published networks and quantum Monte Carlo.

Trains every case from scratch, settles p(K) in closed form on fresh samples, evaluates at frozen parameters with fresh samples
again, and sets F (E at T = 0) and S beside the reference. The default cases take minutes; `--cases all` takes hours on two cores.
"""

import argparse
import os
from typing import NamedTuple

import jax

# float64: the local energy takes third derivatives of the flow, and energy differences of 1e-5 are the result.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", os.cpu_count())  # walkers are spread over these

from numpyro.handlers import condition
from shared import check_whole_numbers, directory_flags, ended_in_one_line, estimates, output_directory, write_json

from pnct import ElectronGas, Estimate, hamiltonian
from pnct.first_order import first_order_bound
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, to_arviz
from pnct.inference.occupation_optimum import settled
from pnct.models import electron_gas

ED = "exact diagonalisation"
NETWORKS = "networks of Xie, Zhang, Wang, SciPost Phys. 14, 154 (2023), sampled exactly"
LOG = "training log of Xie, Zhang, Wang, SciPost Phys. 14, 154 (2023)"
VMC = "SJ-VMC of the QMCPACK heg tests"
DMC = "SJ-DMC of the QMCPACK heg tests"


class Reference(NamedTuple):
    """F per electron (E at T = 0), hartree, with its standard error; S of all electrons, k_B, where it is known."""

    source: str
    free_energy: float
    error: float
    entropy: float | None = None


class Case(NamedTuple):
    """One row of the table, from scratch in `steps` steps."""

    num_electrons: tuple[int, int]
    dim: int
    rs: float
    theta: float
    twist: float
    steps: int
    references: tuple[Reference, ...] = ()

    @property
    def gas(self) -> ElectronGas:
        return ElectronGas(self.num_electrons, self.dim, self.rs, self.theta, self.twist)


def rydberg(source: str, free_energy: float, error: float, entropy: float | None = None) -> Reference:
    """A reference from values in Ry."""
    return Reference(source, free_energy / 2, error / 2, entropy)


CASES = {
    "2d-3-rs1": Case((3, 0), 2, 1.0, 0.15, 0.25, 300, (rydberg(ED, 0.034151, 1.4e-5, 0.293314),)),
    "2d-3-rs5": Case((3, 0), 2, 5.0, 0.15, 0.25, 300, (rydberg(ED, -0.306334, 3e-6, 0.289774),)),
    "2d-3-rs10": Case((3, 0), 2, 10.0, 0.15, 0.25, 300, (rydberg(ED, -0.175218, 2e-6, 0.289479),)),
    "2d-1+1-rs1": Case((1, 1), 2, 1.0, 0.15, 0.25, 300, (rydberg(ED, -0.885501, 2.89e-4, 0.003895),)),
    "2d-1+1-rs5": Case((1, 1), 2, 5.0, 0.15, 0.25, 300, (rydberg(ED, -0.337668, 1.6e-5, 0.046968),)),
    "3d-1+1-rs5": Case((1, 1), 3, 5.0, 0.5, 0.0, 300, (rydberg(ED, -0.296363, 1.1e-5, 0.440261),)),
    "3d-1+1-rs10": Case((1, 1), 3, 10.0, 0.5, 0.0, 300, (rydberg(ED, -0.151317, 2e-6, 0.488029),)),
    "3d-3-rs10": Case((3, 0), 3, 10.0, 0.125, 0.0, 300, (rydberg(ED, -0.107797, 7e-6, 2.701917),)),
    "3d-3-rs10-hot": Case((3, 0), 3, 10.0, 0.5, 0.0, 300, (rydberg(ED, -0.131183, 1.1e-5, 4.111116),)),
    "2d-13-rs1": Case((13, 0), 2, 1.0, 0.15, 0.25, 200),
    "2d-13-rs10": Case((13, 0), 2, 10.0, 0.15, 0.25, 100),
    "2d-29-rs0.25": Case((29, 0), 2, 0.25, 0.15, 0.25, 150, (rydberg(LOG, 23.375787, 0.001281, 29 * 0.39587),)),
    "2d-29-rs1": Case((29, 0), 2, 1.0, 0.15, 0.25, 150, (rydberg(LOG, 0.152067, 2.34e-4, 29 * 0.33489),)),
    "2d-29-rs5": Case((29, 0), 2, 5.0, 0.15, 0.25, 150, (rydberg(LOG, -0.289728, 2.05e-4, 29 * 0.22517),)),
    "2d-29-rs10": Case((29, 0), 2, 10.0, 0.15, 0.25, 150, (rydberg(LOG, -0.169068, 2.3e-5, 29 * 0.15903),)),
    "3d-7+7-rs5": Case(
        (7, 7), 3, 5.0, 0.0, 0.0, 200, (Reference(VMC, -1.073323 / 14, 2.7e-5 / 14), Reference(DMC, -1.110199 / 14, 3.2e-5 / 14))
    ),
    "3d-7-rs4": Case((7, 0), 3, 4.0, 0.0625, 0.0, 150),
    "3d-7-rs10": Case((7, 0), 3, 10.0, 0.0625, 0.0, 150),
    "3d-19-rs4": Case((19, 0), 3, 4.0, 0.0625, 0.0, 150),
    "3d-19-rs10": Case((19, 0), 3, 10.0, 0.0625, 0.0, 150),
    "3d-33-rs4": Case((33, 0), 3, 4.0, 0.0625, 0.0, 150),
    "3d-33-rs10": Case((33, 0), 3, 10.0, 0.0625, 0.0, 150),
}
SMALL = tuple(name for name, case in CASES.items() if case.references and case.references[0].source == ED)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=["all", *CASES], default=list(SMALL), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--steps", type=int, default=None, help="training steps, instead of those of each case")
    parser.add_argument("--walkers", type=int, default=256, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=32_768, help="independent samples of each evaluation")
    parser.add_argument("--seed", type=int, default=0, help="random seed; the same seed gives the same numbers")
    directory_flags(parser, "out/benchmark_table")
    return parser


def main(argv=None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    check_whole_numbers(args, parser, walkers=2, samples=80)
    if args.steps is not None:
        check_whole_numbers(args, parser, steps=0)
    out = output_directory(args, parser)

    results = {}
    for name in CASES if "all" in args.cases else args.cases:
        case = CASES[name]
        with ended_in_one_line(parser):
            report = run(case, args, out / name)
        print(lines(name, case, report), flush=True)
        results[name] = estimates(report)
        write_json(out / "result.json", args, {"cases": results})
    print(f"Wrote result.json to {out}")


def run(case: Case, args, directory):
    """Trains and evaluates one case; what diagnose says of it."""
    gas = case.gas
    model = electron_gas if case.theta else condition(electron_gas, {"K": gas.ground_state})
    vfe = VariationalFreeEnergy(model, hamiltonian(gas), natural_gradient(), num_walkers=args.walkers)
    steps = case.steps if args.steps is None else args.steps
    result = vfe.run(jax.random.key(args.seed), steps, gas, checkpoint=directory)
    params = result.params
    if case.theta:
        params = settled(vfe, jax.random.key(args.seed + 1), params, args.samples // 2, gas)
    draws = vfe.evaluate(jax.random.key(args.seed + 2), params, args.samples, gas)
    idata = to_arviz(draws, result.history)
    idata.to_netcdf(str(directory / "draws.nc"), engine="h5netcdf")
    return diagnose(idata)


def lines(name: str, case: Case, report) -> str:
    """The case, and one line for each of its references. The gap is that between the first-order bound and the reference."""
    gas = case.gas
    bound = first_order_bound(gas).free_energy / gas.N
    text = [
        f"{name}: F/N {report.free_energy} Ha ({report.free_energy.scaled(2)} Ry), first-order bound {bound:.6f} Ha, "
        f"S {report.entropy.scaled(gas.N)} k_B"
    ]
    for reference in case.references:
        gap = bound - reference.free_energy
        share = Estimate(100 * (bound - report.free_energy.value) / gap, 100 * report.free_energy.error / gap, 0.0)
        S = "" if reference.entropy is None else f", S {reference.entropy:.4f}"
        text.append(f"    {reference.source}: F/N {reference.free_energy:.6f} Ha{S}; {share} % of the gap is closed")
    if not report.converged:
        text.append(f"    {report.verdict}")
    return "\n".join(text)


if __name__ == "__main__":
    main()
