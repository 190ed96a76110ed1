"""What the example scripts have in common: their output directory, result files, and units."""

import argparse
import csv
import gc
import json
import math
import os
import platform
import signal
import sys
import tempfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import jax

from pnct import Estimate, ideal_gas
from pnct.inference import Interrupted, TrainingFailedError
from pnct.inference.observables.entropy import entropy
from pnct.inference.runs import run_directory
from pnct.inference.runs.launch import PLACE, cores, join, launch
from pnct.systems.first_order import FirstOrder, first_order_bound

FLAGS = "flags.json"  # those with which the run in a directory was begun
FREE = ("out", "resume", "overwrite", "processes", "distributed", "units", "reference")  # may be others later
QUANTITIES = ("free_energy", "energy", "kinetic", "potential", "entropy")
SYMBOLS = dict(zip(QUANTITIES, "FEKVS", strict=True))
STATES_PER_SAMPLE = 16  # of p(K) alone, for S: they take a small part of the time of the samples
UNITS = {"Ha": 1.0, "Ry": 2.0}
REFERENCE = Path(__file__).parents[1] / "tests" / "reference"
LIBRARIES = ("pnct", "jax", "numpyro", "optax", "distrax", "equinox", "arviz", "numpy")


def directory_flags(parser: argparse.ArgumentParser, default: str):
    """--out, and what to do where it holds something already. Returns the group of these flags."""
    results = parser.add_argument_group("results")
    results.add_argument(
        "--out", type=Path, default=Path(default), metavar="DIR", help="directory for results, new or empty"
    )
    existing = results.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in --out, if it has one"
    )
    existing.add_argument(
        "--overwrite", action="store_true", help="start anew in --out, though it holds a run"
    )
    return results


def process_flags(parser: argparse.ArgumentParser) -> None:
    """--processes and --distributed."""
    many = parser.add_argument_group("processes").add_mutually_exclusive_group()
    many.add_argument(
        "--processes", type=int, default=1, metavar="N", help="how many to start on the cores of this machine"
    )
    many.add_argument(
        "--distributed", action="store_true", help="one of several processes, as Slurm or MPI start them"
    )


def share_the_work(args: argparse.Namespace, parser: argparse.ArgumentParser, command: list[str]) -> None:
    """Joins the other processes, if there are to be any. To be called before jax is used.

    With --processes > 1 it starts `command`, a script and its flags, so many times, and ends with their
    status. What is wrong with --out is said before.
    """
    if args.distributed or PLACE in os.environ:
        join()
    elif args.processes > 1:
        if args.processes > len(cores()):
            parser.error(
                f"Expected --processes <= {len(cores())}, the cores of this machine; got {args.processes}."
            )
        output_directory(args, parser)
        sys.exit(launch(command, args.processes))
    elif args.processes < 1:
        parser.error(f"Expected --processes >= 1; got {args.processes}.")


def entropy_of_states(model, seed: int, params, num_samples: int, gas) -> Estimate:
    """S of all electrons, from STATES_PER_SAMPLE times as many states as there are samples."""
    return entropy(model, jax.random.key(seed), params, STATES_PER_SAMPLE * num_samples, gas)


def keep_compiled_programs() -> None:
    """Compiled programs are kept in the user's cache folder, so that the next start finds them there.

    A place that the user has named is left alone. They hold for one kind of processor: one folder a machine.
    Modules are left out of collections of garbage, which would walk over all of them again at every trace,
    and what a trace makes is kept by it.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    if jax.config.jax_compilation_cache_dir or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = caches / "pnct" / platform.node()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # no place to write to: all is compiled again
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.02)  # seventy small ones at a start
    if jax.process_index() == 0:
        print(f"Compiled programs are kept in {place}; it may be deleted.", file=sys.stderr)


def check_whole_numbers(args: argparse.Namespace, parser: argparse.ArgumentParser, **least: int) -> None:
    """Ends in one line where a flag is below its least value."""
    for name, smallest in least.items():
        if getattr(args, name) < smallest:
            parser.error(f"Expected --{name.replace('_', '-')} >= {smallest}; got {getattr(args, name)}.")


def output_directory(args: argparse.Namespace, parser: argparse.ArgumentParser) -> Path:
    """Makes the directory before anything long starts. What is in it is not touched unasked."""
    path = args.out
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        parser.error(f"Expected --out to be a directory that can be written; got {path} ({error.strerror}).")
    asked = PLACE in os.environ  # by the process that started this one
    if asked or jax.process_index() > 0:
        return path
    if not args.resume and any(path.iterdir()):
        if not args.overwrite:
            parser.error(
                f"Expected a new or empty --out; got {path}. "
                "Add --resume to go on there, --overwrite to start anew."
            )
        for log in path.rglob(run_directory.LOG):
            run_directory.clear(log.parent)
        (path / "result.json").unlink(missing_ok=True)
        (path / FLAGS).unlink(missing_ok=True)
    if not (path / FLAGS).exists():
        (path / FLAGS).write_text(json.dumps(plain_flags(args), indent=2) + "\n")
    return path


def plain_flags(args: argparse.Namespace) -> dict:
    """The flags by name, as they stand in files."""
    return {name: str(x) if isinstance(x, Path) else x for name, x in vars(args).items()}


def changed_flags(args: argparse.Namespace) -> str:
    """The flags with which the run in --out was begun, where they are others now, as they would be typed."""
    path = args.out / FLAGS
    if not args.resume or not path.is_file():
        return ""
    begun, now = json.loads(path.read_text()), plain_flags(args)
    names = [name for name in begun if name not in FREE and begun[name] != now.get(name)]
    return "  ".join(f"--{name.replace('_', '-')} {_typed(begun[name])}" for name in names)


def _typed(x) -> str:
    return " ".join(map(str, x)) if isinstance(x, list) else str(x)


@contextmanager
def ended_in_one_line(parser: argparse.ArgumentParser, args: argparse.Namespace | None = None):
    """A run that ends early says in one line why, and how to go on. args: to name those flags of a run in
    --out that are others now.
    """
    try:
        yield
    except Interrupted as stop:
        print(f"{stop} Here: the same command with --resume.", file=sys.stderr)
        sys.exit(128 + stop.signum)
    except KeyboardInterrupt:  # before the first step, or in an evaluation
        print("Stopped by SIGINT. To go on: the same command with --resume.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except TrainingFailedError as error:
        sys.exit(str(error))
    except ValueError as error:
        changed = "" if args is None else changed_flags(args)
        parser.error(f"{error} The run in {args.out} was begun with {changed}." if changed else str(error))


def estimates(report) -> dict:
    """The five estimates of a diagnosis, per electron, and its verdict."""
    return {name: getattr(report, name).to_json() for name in QUANTITIES} | {"verdict": report.verdict}


def beside(gas) -> dict[str, FirstOrder]:
    """What a run of the electron gas is set beside; totals in hartree and k_B."""
    ideal = ideal_gas(gas)
    return {
        "first_order": first_order_bound(gas),
        "ideal_gas": FirstOrder(ideal.free_energy, ideal.energy, ideal.energy, 0.0, ideal.entropy),
    }


def per_electron(gas, references: dict[str, FirstOrder]) -> dict:
    """The same as it stands in result.json."""
    return {
        name: {quantity: float(getattr(x, quantity)) / gas.N for quantity in QUANTITIES}
        for name, x in references.items()
    }


def table_beside(gas, report, units: str, references: dict[str, FirstOrder]) -> list[str]:
    """The lines of a table: this run beside the references, per electron."""
    names = "".join(f" {name.replace('_', ' '):>13s}" for name in references)
    lines = [f"per electron ({units}, k_B)   {'this run':>16s}{names}"]
    for name, symbol in SYMBOLS.items():
        scale = 1.0 if name == "entropy" else UNITS[units]
        found = getattr(report, name).scaled(scale)
        numbers = "".join(f" {float(getattr(x, name)) * scale / gas.N:13.5f}" for x in references.values())
        lines.append(f"  {symbol} = {name:<22s} {found!s:>16s}{numbers}")
    return lines


def exact_rows(folder: Path, **same: float) -> list[dict[str, str]]:
    """The rows of exact_diagonalisation.csv with these values; none where there is no file."""
    path = folder / "exact_diagonalisation.csv"
    if not path.is_file():
        return []
    with path.open() as file:
        return [
            row for row in csv.DictReader(file) if all(float(row[column]) == x for column, x in same.items())
        ]


def write_json(path: Path, args: argparse.Namespace, result: dict) -> None:
    """The result with the flags and the versions that it came from."""
    versions = {"python": sys.version.split()[0]} | {name: version(name) for name in LIBRARIES}
    text = json.dumps(
        without_nan(result | {"config": plain_flags(args), "versions": versions}), indent=2, allow_nan=False
    )
    path.write_text(text + "\n")


def without_nan(x):
    """The same with None, null in JSON, in the place of numbers that are not finite."""
    if isinstance(x, dict):
        return {name: without_nan(value) for name, value in x.items()}
    if isinstance(x, list | tuple):
        return [without_nan(value) for value in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x
