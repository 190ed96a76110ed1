"""What ArviZ says of the exact sampler, and of Metropolis chains of the same wave function.

Trains the polarised gas at zero temperature (one state K), then draws |Psi_K|^2 twice: independently, and by
Metropolis chains. Prints `az.summary` of the energies of both and writes trace, rank, effective sample size
and autocorrelation plots. Independent samples have no autocorrelation and an effective size equal to their
number; chains lose most of theirs.
"""

import argparse
from pathlib import Path

import jax

# float64: the local energy takes third derivatives of the flow, and differences of 1e-4 are the result.
jax.config.update("jax_enable_x64", True)

import matplotlib

matplotlib.use("Agg")
import arviz
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray
from numpyro.handlers import condition, seed, substitute, trace
from shared import (
    check_whole_numbers,
    directory_flags,
    ended_in_one_line,
    estimates,
    keep_compiled_programs,
    output_directory,
    write_json,
)

from pnct import ElectronGas, hamiltonian
from pnct.inference import Draws, VariationalFreeEnergy, diagnose, metropolis, natural_gradient, to_arviz
from pnct.models import electron_gas

ENERGIES = ("energy", "kinetic", "potential")
ALONG_X = {
    "trace": "left: hartree, right: draw",
    "rank": "",
    "ess": "",
    "autocorr": "lag (draws)",
}  # of the ArviZ plots


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-up", type=int, default=5, help="electrons, all with spin up")
    parser.add_argument("--rs", type=float, default=5.0, help="density parameter r_s")
    parser.add_argument("--steps", type=int, default=40, help="training steps")
    parser.add_argument("--walkers", type=int, default=128, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=2000, help="samples of each sampler, in 4 chains")
    parser.add_argument("--thin", type=int, default=2, help="Metropolis moves between samples")
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same numbers"
    )
    directory_flags(parser, "out/diagnostics")
    return parser


def main(argv=None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    check_whole_numbers(args, parser, steps=0, walkers=2, samples=64, thin=1)
    try:
        gas = ElectronGas((args.num_up, 0), 2, args.rs, 0.0, 0.25)
    except ValueError as error:
        parser.error(str(error))
    out = output_directory(args, parser)
    keep_compiled_programs()
    keys = jax.random.split(jax.random.key(args.seed), 3)

    model = condition(electron_gas, {"K": gas.ground_state})
    vfe = VariationalFreeEnergy(model, hamiltonian(gas), natural_gradient(), num_walkers=args.walkers)
    with ended_in_one_line(parser, args):
        params, _, history = vfe.run(keys[0], args.steps, gas, checkpoint=out)
        samples = args.samples // 4 * 4
        exact = vfe.evaluate(keys[1], params, samples, gas)
        chains = metropolis_draws(keys[2], gas, model, params, exact, samples // 4, args.thin)

    result = {}
    for name, draws, num_chains in (("exact sampler", exact, None), ("Metropolis", chains, 4)):
        idata = to_arviz(draws, history, num_chains, system=gas)
        report = diagnose(idata)
        summary = arviz.summary(idata, group="sample_stats", var_names=list(ENERGIES))
        print(f"\n{name}\n{summary.to_string()}\n{report}")
        stem = name.split()[0].lower()
        result[stem] = estimates(report) | {"min_ess": report.min_ess, "max_rhat": report.max_rhat}
        idata.to_netcdf(str(out / f"draws_{stem}.nc"), engine="h5netcdf")
        for plot in ALONG_X:
            draw_plot(plot, idata, name, out / f"{stem}_{plot}.png")
    write_json(out / "result.json", args, result)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def metropolis_draws(key, gas, model, params, start: Draws, num_samples: int, thin: int) -> Draws:
    """Four chains of |Psi_K|^2 that begin at exact samples: no burn-in is needed but for the step."""
    born = trace(seed(substitute(model, params), key)).get_trace(gas)[start.measured_site]["fn"].distribution
    R, acceptance = metropolis(key, born.log_prob, start.measured[:4], num_samples, thin, burn_in=200)
    print(f"Metropolis accepts {float(acceptance):.0%} of its moves")
    R = R.reshape(-1, *R.shape[2:])
    energy = jax.jit(
        lambda R: jax.lax.map(lambda r: hamiltonian(gas).local_energy(born, r), R, batch_size=4)
    )(R)
    return start._replace(
        samples={start.measured_site: np.asarray(R)},
        log_prob=jnp.zeros(len(R)),
        kinetic=energy.kinetic,
        potential=energy.potential,
        diagnostics=energy.diagnostics,
    )


def draw_plot(kind: str, idata, name: str, path: Path) -> None:
    """An ArviZ plot of the energies. Its functions look at the posterior, so the energies go in as one."""
    stats = idata["sample_stats"]
    stats = stats.to_dataset() if hasattr(stats, "to_dataset") else stats
    energies = stats[list(ENERGIES)]
    getattr(arviz, f"plot_{kind}")(as_posterior(energies))
    figure = plt.gcf()
    figure.set_layout_engine("constrained")
    size = 1.1 * figure.get_figwidth()
    figure.suptitle(f"{name}: total energies in hartree", fontsize=size)
    if ALONG_X[kind]:
        figure.supxlabel(ALONG_X[kind], fontsize=size)
    figure.savefig(path, dpi=90)
    plt.close("all")


def as_posterior(dataset):
    """The container of whichever ArviZ is installed, with this dataset as its posterior."""
    if int(arviz.__version__.split(".")[0]) >= 1:
        return xarray.DataTree.from_dict({"posterior": dataset})
    return arviz.InferenceData(posterior=dataset)


if __name__ == "__main__":
    main()
