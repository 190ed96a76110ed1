"""Draws again, from what `to_arviz` has made of them: an InferenceData, a DataTree, or the file of one.

Every number comes back as it was, bit for bit.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from pnct.inference.sampling.draws import Draws

DrawsLike = Any  # Draws, what to_arviz makes of them, or the path of such a file
DERIVED = ("energy", "free_energy", "energy_imag")  # of what else is in the group sample_stats
COLUMNS = ("log_prob", "kinetic", "potential", "is_exact")


def as_draws(saved: DrawsLike) -> Draws:
    """The draws. Raises ValueError where they are in no form that this knows."""
    if isinstance(saved, Draws):
        return saved
    if isinstance(saved, str | Path):
        saved = _read(saved)
    try:
        posterior, stats = saved["posterior"], saved["sample_stats"]
        attrs = stats.attrs
        column = {str(name): _flat(stats[name]) for name in stats.data_vars}
        return Draws(
            samples={
                str(name): _flat(posterior[name])
                for name in posterior.data_vars
                if "counted" not in posterior[name].attrs  # of what is there already
            },
            log_prob=column["log_prob"],
            kinetic=_complex(column["kinetic"], column["energy_imag"]),
            potential=column["potential"],
            diagnostics={name: x for name, x in column.items() if name not in (*COLUMNS, *DERIVED)},
            temperature=float(attrs["temperature"]),
            measured_site=str(attrs["measured_site"]),
            state_site=str(attrs["state_site"]) or None,
            dims=tuple(str(dim) for dim in posterior[attrs["measured_site"]].dims[2:]),
            is_exact=column["is_exact"].astype(bool),
            unit=str(attrs["unit"]),
            parts=tuple(str(attrs["energy_parts"]).split(", ")),
        )
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ValueError(
            "Expected Draws, what to_arviz makes of them, or the path of such a file; got a "
            f"{type(saved).__name__}."
        ) from None


def measured_of(samples: DrawsLike) -> np.ndarray | jax.Array:
    """The values of the measured site, R, of draws in any form; an array is taken for these values."""
    return samples if isinstance(samples, np.ndarray | jax.Array) else as_draws(samples).measured


def states_of(samples: DrawsLike) -> np.ndarray | jax.Array:
    """The states K of draws in any form; an array is taken for them.

    Raises ValueError where no one site names them.
    """
    if isinstance(samples, np.ndarray | jax.Array):
        return samples
    draws = as_draws(samples)
    if draws.state_site is None:
        raise ValueError("Expected draws with one site that names the states; got none or several.")
    return draws.samples[draws.state_site]


def _flat(variable) -> np.ndarray:
    """Chain after chain, as the samples were dealt out."""
    x = np.asarray(variable.values)
    return x.reshape(-1, *x.shape[2:])


def _complex(real: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    # Not real + 1j imaginary, which is nan in both parts where the second one is.
    z = real.astype(np.result_type(real, np.complex64))
    z.imag = imaginary
    return z


def _read(path: str | Path):
    import arviz  # takes 2-3 s

    if not Path(path).is_file():
        raise ValueError(f"Expected the path of a file that to_netcdf has written; got {path}.")
    return arviz.from_netcdf(str(path))
