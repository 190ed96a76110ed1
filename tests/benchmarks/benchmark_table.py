"""Free energies beside exact diagonalisation, the published networks and quantum Monte Carlo.

    python tests/benchmarks/benchmark_table.py [--cases all] [--out DIR]

Trains every case from scratch in rounds, each followed by the steps in closed form, evaluates at frozen
parameters with fresh samples, and sets F (E at T = 0) and S beside the reference; S is of more states,
without electrons. The default cases take minutes each; `--cases all` takes hours.
"""

import argparse
import sys
import time
from pathlib import Path

import jax

if __name__ == "__main__":
    # float64: the local energy takes third derivatives of the flow, and differences of 1e-5 are the result.
    jax.config.update("jax_enable_x64", True)
sys.path.append(str(Path(__file__).parents[2] / "examples"))

from benchmark_cases import CASES, SMALL, Case
from numpyro.handlers import condition
from shared import (
    check_whole_numbers,
    directory_flags,
    ended_in_one_line,
    entropy_of_states,
    estimates,
    output_directory,
    process_flags,
    share_the_work,
    write_json,
)

from pnct import Estimate, hamiltonian
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, run_in_rounds, to_arviz
from pnct.inference.training.loop import in_precision
from pnct.models import few_electrons
from pnct.systems.first_order import first_order_bound


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--cases",
        nargs="+",
        choices=["all", *CASES],
        default=list(SMALL),
        metavar="CASE",
        help=", ".join(CASES),
    )
    parser.add_argument(
        "--steps", type=int, default=None, help="training steps, instead of those of each case"
    )
    parser.add_argument(
        "--walkers",
        type=int,
        default=None,
        help="independent samples per step, instead of those of each case",
    )
    parser.add_argument(
        "--samples", type=int, default=None, help="independent samples of the evaluation, likewise"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same numbers"
    )
    parser.add_argument(
        "--single-precision", action="store_true", help="train in float32, evaluate in float64 all the same"
    )
    directory_flags(parser, "out/benchmark_table")
    process_flags(parser)
    return parser


def main(argv=None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    minima = {"steps": 0, "walkers": 2, "samples": 80}
    check_whole_numbers(
        args, parser, **{name: least for name, least in minima.items() if getattr(args, name) is not None}
    )
    share_the_work(args, parser, [__file__, *(sys.argv[1:] if argv is None else argv)])
    out = output_directory(args, parser)

    results = {}
    for name in CASES if "all" in args.cases else args.cases:
        case = CASES[name]
        with ended_in_one_line(parser):
            report = run(case, args, out / name)
        if jax.process_index() > 0:
            continue
        print(lines(name, case, report), flush=True)
        results[name] = estimates(report)
        write_json(out / "result.json", args, {"cases": results})
    if jax.process_index() == 0:
        print(f"Wrote result.json to {out}")


def run(case: Case, args, directory):
    """Trains and evaluates one case; what diagnose says of it, with S from states alone."""
    gas = case.gas
    given = {
        name: getattr(args, name)
        for name in ("steps", "walkers", "samples")
        if getattr(args, name) is not None
    }
    case = case._replace(**given)
    model = case.model if case.theta else condition(case.model, {"K": gas.ground_state})
    precision = "float32" if args.single_precision else None
    vfe = VariationalFreeEnergy(
        model, hamiltonian(gas), natural_gradient(), case.walkers, precision=precision
    )
    key = jax.random.key(args.seed)
    rounds = 3 if case.model is few_electrons else 1
    start = time.monotonic()
    result = run_in_rounds(vfe, key, case.steps, gas, rounds, case.samples // 2, checkpoint=directory)
    if jax.process_index() == 0:
        print(f"Trained in {time.monotonic() - start:.0f} s, compilation included", flush=True)
    draws = vfe.evaluate(jax.random.key(args.seed + 2), result.params, case.samples, gas)
    idata = to_arviz(draws, result.history)
    if jax.process_index() == 0:
        idata.to_netcdf(str(directory / "draws.nc"), engine="h5netcdf")
    if not case.theta:
        return diagnose(idata)
    params = in_precision(result.params, "float64")
    S = entropy_of_states(case.model, args.seed + 3, params, case.samples, gas)
    return diagnose(idata, entropy=S)


def lines(name: str, case: Case, report) -> str:
    """The case, and one line for each of its references. The gap is that between the first-order bound and
    the reference.
    """
    gas = case.gas
    bound = first_order_bound(gas).free_energy / gas.N
    text = [
        f"{name}: F/N {report.free_energy} Ha ({report.free_energy.scaled(2)} Ry), "
        f"first-order bound {bound:.6f} Ha, S {report.entropy.scaled(gas.N)} k_B"
    ]
    for reference in case.references:
        gap = bound - reference.free_energy
        share = Estimate(
            100 * (bound - report.free_energy.value) / gap, 100 * report.free_energy.error / gap, 0.0
        )
        S = "" if reference.entropy is None else f", S {reference.entropy:.4f}"
        text.append(
            f"    {reference.source}: F/N {reference.free_energy:.6f} Ha{S}; {share} % of the gap is closed"
        )
    if not report.converged:
        text.append(f"    {report.verdict}")
    return "\n".join(text)


if __name__ == "__main__":
    main()
