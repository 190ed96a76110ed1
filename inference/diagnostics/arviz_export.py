"""Draws as ArviZ sees them: the groups posterior (K, R), sample_stats (energies), and constant_data: what
has no draws, the orbitals and the history of the training.

    free_energy = T ln p + Re E_loc,    energy + i energy_imag = E_loc = kinetic + potential        (totals)

ArviZ joins (`concat`) and tabulates (`to_dataframe`) all groups by chain and draw, but for that of
constants. It changed its container between 0.23 (InferenceData) and 1.0 (xarray.DataTree); the groups are the
same in both, and `to_netcdf` and `arviz.from_netcdf` keep everything.
"""

from importlib.metadata import version

import numpy as np

from pnct.inference.sampling.draws import Draws

BLOCKS = 4  # of independent samples, which stand for chains in ArviZ's plots
COUNTED = "counted"  # the attribute of what is counted in a site, and no site
TRAINING = "training_"  # what the names of the history begin with, among the constants
VERSIONED = ("pnct", "jax", "numpyro", "numpy", "arviz")


def to_arviz(draws: Draws, history=None, num_chains: int | None = None, system=None):
    """The draws as an `arviz.InferenceData` (ArviZ 0.23) or an `xarray.DataTree` (ArviZ 1).

    num_chains: of Markov chains, where the samples are such, flattened chain by chain. None: independent
    samples, as `evaluate` draws them. They have no chains; ArviZ wants several, so consecutive blocks stand
    for them, and the attribute `independent_samples` is 1. The number of chains is the largest divisor of the
    number of samples that is <= num_chains (or 4 blocks), so that no sample is lost (a prime number makes
    one).
    history: a NamedTuple or dict of arrays whose first axis is the training step: training_<name> in the
    group `constant_data`, with the dimension step; `training_history` gives them back.
    system: what was simulated, a System. Of electrons, these are labelled by spin, K is also counted by shell
    (K_by_shell), and `constant_data` holds the orbitals: energy, ideal occupation, and the columns of their
    table, such as wave vectors and twist. Of spins, `K_excited` counts the free spins that K turns against
    their field, and `constant_data` holds the bonds and the Pauli strings. Failed walkers stay, as nan.
    Attributes, on every group: temperature, unit (of energies), energy_parts (what `kinetic` and `potential`
    are of these particles), particle and their number, measured_site, state_site, independent_samples,
    versions.
    """
    import arviz  # takes 2-3 s
    import xarray

    if not isinstance(draws, Draws):
        raise ValueError(f"Expected Draws, as `evaluate` gives them; got a {type(draws).__name__}.")
    if draws.measured_site not in draws.samples:
        raise ValueError(
            f"Expected measured_site among the sites {sorted(draws.samples)}; got {draws.measured_site!r}."
        )
    if num_chains is not None and num_chains < 1:
        raise ValueError(f"Expected num_chains >= 1; got {num_chains}.")
    chains = largest_divisor(_num_samples(draws), BLOCKS if num_chains is None else num_chains)

    posterior = {
        name: (("chain", "draw", *_event_dims(name, x, draws)), _dealt(x, chains))
        for name, x in draws.samples.items()
    }
    stats = {name: (("chain", "draw"), _dealt(x, chains)) for name, x in _sample_stats(draws).items()}
    groups = {"posterior": xarray.Dataset(posterior), "sample_stats": xarray.Dataset(stats)}
    constants = {} if history is None else _training(history)
    if system is not None:
        groups["posterior"].update(
            {
                name: (("chain", "draw", *dims), _dealt(x, chains), {COUNTED: 1})
                for name, (dims, x) in _counts(draws, system).items()
            }
        )
        constants |= system.constants()
    if constants:
        groups["constant_data"] = xarray.Dataset(constants)
    groups = {name: _with_coordinates(group, system) for name, group in groups.items()}

    attrs = {
        "temperature": float(draws.temperature),
        "unit": draws.unit,
        "energy_parts": ", ".join(draws.parts),
        "particle": draws.dims[0],
        f"num_{draws.dims[0]}s": int(draws.num_particles),
        "measured_site": draws.measured_site,
        "state_site": draws.state_site or "",
        "independent_samples": int(num_chains is None),
        **{f"{library}_version": version(library) for library in VERSIONED},
    }
    groups = {name: group.assign_attrs(attrs) for name, group in groups.items()}
    if int(arviz.__version__.split(".")[0]) >= 1:
        tree = xarray.DataTree.from_dict(groups)
        tree.attrs.update(attrs)
        return tree
    return arviz.InferenceData(attrs=attrs, **groups)


def training_history(idata) -> dict[str, np.ndarray]:
    """The history that `to_arviz` was given, {name: array over the steps}; empty without one."""
    # The containers of the two versions list their groups each in its own way.
    groups = {str(name).strip("/") for name in (idata.groups() if callable(idata.groups) else idata.groups)}
    if "constant_data" not in groups:
        return {}
    constants = idata["constant_data"]
    return {
        str(name).removeprefix(TRAINING): np.asarray(constants[name].values)
        for name in constants.data_vars
        if str(name).startswith(TRAINING)
    }


def twists_to_dataset(averages):
    """The estimates of a `TwistAverage` by twist, and the weights of the twists, an xarray.Dataset with
    dimensions twist and axis; errors as name_error.
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
    variables["weight"] = ("twist", averages.weights)
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
    return x.reshape(chains, len(x) // chains, *x.shape[1:])


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
            variables[f"{TRAINING}{name}_imag"] = (dims, x.imag)
        variables[f"{TRAINING}{name}"] = (dims, x.real)
    return variables
