"""What the example scripts have in common: their output directory, result files, and units."""

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

QUANTITIES = ("free_energy", "energy", "kinetic", "potential", "entropy")
UNITS = {"Ha": 1.0, "Ry": 2.0}
LIBRARIES = ("pnct", "jax", "numpyro", "optax", "distrax", "equinox", "arviz", "numpy")


def output_directory(path: Path, parser: argparse.ArgumentParser) -> Path:
    """Makes the directory before anything long starts."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "result.json").touch()
    except OSError as error:
        parser.error(f"Expected --out to be a directory that can be written; got {path} ({error.strerror}).")
    return path


def estimates(report) -> dict:
    """The five estimates of a diagnosis, per electron, and its verdict."""
    return {name: getattr(report, name).to_json() for name in QUANTITIES} | {"verdict": report.verdict}


def write_json(path: Path, args: argparse.Namespace, result: dict) -> None:
    """The result with the flags and the versions that it came from."""
    config = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    versions = {"python": sys.version.split()[0]} | {name: version(name) for name in LIBRARIES}
    path.write_text(json.dumps(result | {"config": config, "versions": versions}, indent=2) + "\n")
