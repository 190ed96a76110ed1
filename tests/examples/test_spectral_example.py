"""The pictures of the spectral function show its poles where they are."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np

from pnct import ElectronGas, Estimate
from pnct.inference.observables.poles import Poles, dispersion

GAS = ElectronGas((2, 0), 2, 5.0, 0.15, 0.25, cutoff=4.0)


def free_poles(gas):
    """One pole of weight 1 at each orbital, at its own energy."""
    M = len(gas.orbitals)
    orbitals, one = np.arange(M), np.ones(M)
    each = tuple(Estimate(1.0, 0.0, np.nan) for _ in orbitals)
    k = gas.orbitals.wavevectors / gas.rs
    folds = np.ones((20, M))
    energy = np.asarray(gas.orbital_energies)
    return Poles(orbitals, k, orbitals, energy, 0 * one, one, 1e-3 * one, folds, each, each, 0 * one)


def test_a_heat_map_has_the_lines_of_free_electrons(example, monkeypatch):
    module = example("spectral_function_pictures")
    figures = []
    monkeypatch.setattr(module, "save", lambda fig, path: figures.append(fig))
    A = free_poles(GAS)
    E_F = float(GAS.E_F)
    result = {"A": A, "mu": Estimate(E_F, 0.0, np.nan), "dispersion": dispersion(GAS, A)}
    module.plot(None, SimpleNamespace(width=0.08), [GAS], [result])
    (mesh,) = (x for x in figures[0].axes[0].collections if x.get_array() is not None)
    image = np.ma.getdata(mesh.get_array()).reshape(module.POINTS, -1)
    corners = mesh.get_coordinates()  # of the cells: (w, k)
    k = np.unique(np.round(np.linalg.norm(A.wavevectors, axis=1) / (GAS.fermi_wavevector / GAS.rs), 6))
    for column, size in zip(image.T, k, strict=True):
        row = np.argmax(column)
        assert corners[row, 0, 1] <= size**2 <= corners[row + 1, 0, 1]
    assert np.all((corners[0, :-1, 0] <= k) & (k <= corners[0, 1:, 0]))
    plt.close("all")
