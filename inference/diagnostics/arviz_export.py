"""Draws as ArviZ sees them: the groups posterior (K, R), sample_stats (energies), training (history),
constant_data (orbitals).

    free_energy = T ln p + Re E_loc,    energy + i energy_imag = E_loc = kinetic + potential        (totals)

ArviZ changed its container between 0.23 (InferenceData) and 1.0 (xarray.DataTree); the groups are the same in
both, and `to_netcdf` and `arviz.from_netcdf` keep everything.
"""

from importlib.metadata import version

import numpy as np

from pnct.inference.sampling.draws import Draws

VERSIONED = ("pnct", "jax", "numpyro", "numpy", "arviz")


def to_arviz(draws: Draws, history=None, num_chains: int = 4, system=None):
    """The draws as an `arviz.InferenceData` (ArviZ 0.23) or an `xarray.DataTree` (ArviZ 1).

    Independent samples have no chains, but R-hat and ESS need several: consecutive blocks of samples become
    chains. Their number is the largest divisor of the number of samples that is <= num_chains, so that no
    sample is lost (a prime number makes one chain). Metropolis samples, flattened chain by chain, keep their
    chains this way.

    history: a NamedTuple or dict of arrays whose first axis is the training step; the group `training`.
    system: what was simulated, a System. Of electrons, these are labelled by spin, K is also counted by shell
    (K_by_shell), and the group `constant_data` holds the orbitals: energy, ideal occupation, and the columns
    of their table, such as wave vectors and twist. Of spins, `K_excited` counts the free spins that K turns
    against their field, and `constant_data` holds the bonds and the Pauli strings. Failed walkers stay, as
    nan. Attributes, on every group: temperature, unit (of energies), energy_parts (what `kinetic` and
    `potential` are of these particles), particle and their number, measured_site, state_site, versions.
    """
    import arviz  # takes 2-3 s
    import xarray

    if draws.measured_site not in draws.samples:
        raise ValueError(
            f"Expected measured_site among the sites {sorted(draws.samples)}; got {draws.measured_site!r}."
        )
    if num_chains < 1:
        raise ValueError(f"Expected num_chains >= 1; got {num_chains}.")
    chains = largest_divisor(_num_samples(draws), num_chains)

    posterior = {
        name: (("chain", "draw", *_event_dims(name, x, draws)), _dealt(x, chains))
        for name, x in draws.samples.items()
    }
    stats = {name: (("chain", "draw"), _dealt(x, chains)) for name, x in _sample_stats(draws).items()}
    groups = {"posterior": xarray.Dataset(posterior), "sample_stats": xarray.Dataset(stats)}
    if system is not None:
        groups["posterior"].update(
            {
                name: (("chain", "draw", *dims), _dealt(x, chains))
                for name, (dims, x) in _counts(draws, system).items()
            }
        )
        groups["constant_data"] = xarray.Dataset(system.constants())
    groups = {name: _with_coordinates(group, system) for name, group in groups.items()}
    if history is not None:
        groups["training"] = xarray.Dataset(_training(history))

    attrs = {
        "temperature": float(draws.temperature),
        "unit": draws.unit,
        "energy_parts": ", ".join(draws.parts),
        "particle": draws.dims[0],
        f"num_{draws.dims[0]}s": int(draws.num_particles),
        "measured_site": draws.measured_site,
        "state_site": draws.state_site or "",
        **{f"{library}_version": version(library) for library in VERSIONED},
    }
    groups = {name: group.assign_attrs(attrs) for name, group in groups.items()}
    if int(arviz.__version__.split(".")[0]) >= 1:
        tree = xarray.DataTree.from_dict(groups)
        tree.attrs.update(attrs)
        return tree
    return arviz.InferenceData(attrs=attrs, warn_on_custom_groups=False, **groups)


def twists_to_dataset(averages):
    """The estimates of a `TwistAverage` by twist, an xarray.Dataset with dimensions twist and axis; errors as
    name_error.
    """
    import xarray

    columns = {name: [one[name] for one in averages.by_twist] for name in averages.average} | {
        "mass": averages.effective_mass_by_twist
    }
    variables = {name: ("twist", [e.value for e in estimates]) for name, estimates in columns.items()}
    variables |= {
        f"{name}_error": ("twist", [e.error for e in estimates]) for name, estimates in columns.items()
    }
    variables["twist_vector"] = (("twist", "axis"), averages.twists)
    return _with_coordinates(xarray.Dataset(variables), None)


def largest_divisor(n: int, at_most: int) -> int:
    """The largest divisor of n that is <= at_most."""
    return max(d for d in range(1, at_most + 1) if n % d == 0)


def _num_samples(draws):
    sizes = {name: len(getattr(draws, name)) for name in ("log_prob", "kinetic", "potential", "is_exact")}
    sizes |= {name: len(x) for name, x in (*draws.diagnostics.items(), *draws.samples.items())}
    if len(set(sizes.values())) != 1 or not min(sizes.values()):
        raise ValueError(f"Expected draws with one number of samples, > 0, in every array; got {sizes}.")
    return min(sizes.values())


def _sample_stats(draws):
    # ArviZ summaries know no complex numbers: real and imaginary parts go in separately.
    kinetic = np.asarray(draws.kinetic)
    return {
        "energy": draws.energy,
        "energy_imag": kinetic.imag,
        "kinetic": kinetic.real,
        "potential": draws.potential,
        "log_prob": draws.log_prob,
        "free_energy": draws.free_energy,
        **draws.diagnostics,
        "is_exact": draws.is_exact,
    }


def _event_dims(name, x, draws):
    shape = np.shape(x)[1:]
    if name == draws.measured_site:
        return draws.dims
    if shape == (draws.num_particles,):
        return draws.dims[:1]
    return tuple(f"{name}_dim_{i}" for i in range(len(shape)))


def _dealt(x, chains):
    x = np.asarray(x)
    return x.reshape(chains, -1, *x.shape[1:])


def _with_coordinates(group, system):
    coordinates = {dim: np.arange(size) for dim, size in group.sizes.items()}
    if "axis" in coordinates:
        coordinates["axis"] = list("xyz"[: group.sizes["axis"]])
    labels = {} if system is None else system.labels()
    return group.assign_coords(coordinates | {name: x for name, x in labels.items() if x[0] in coordinates})


def _counts(draws, system):
    """What the system counts in the states of every site that has one whole number per particle."""
    counts = {}
    for name, K in draws.samples.items():
        whole = np.issubdtype(np.asarray(K).dtype, np.integer)
        if name != draws.measured_site and whole and np.shape(K)[1:] == (draws.num_particles,):
            counts |= {f"{name}_{counted}": x for counted, x in system.counts(K).items()}
    return counts


def _training(history):
    fields = history if isinstance(history, dict) else history._asdict()
    variables = {}
    for name, x in fields.items():
        x = np.asarray(x)
        if x.ndim == 0:
            raise ValueError(f"Expected history fields with the step as first axis; got a scalar {name!r}.")
        dims = ("step", *(f"{name}_dim_{i}" for i in range(x.ndim - 1)))
        if np.iscomplexobj(x):
            variables[f"{name}_imag"] = (dims, x.imag)
        variables[name] = (dims, x.real)
    return variables
