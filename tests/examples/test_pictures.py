"""The pictures of the main example show the numbers of its draws, and leave out what has none."""

from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_up_draws import draws_of_states
from numpyro.handlers import seed, trace

from pnct import ElectronGas
from pnct.inference.observables.ideal_correlations import canonical_pair_correlation
from pnct.models import electron_gas

EXAMPLES = Path(__file__).parents[2] / "examples"
GAS = ElectronGas((2, 1), 3, 5.0, 0.25)


@pytest.fixture
def pictures(monkeypatch):
    """The module, and the figures that it would write."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import heg3d_pictures

    figures = []
    monkeypatch.setattr(heg3d_pictures, "save", lambda fig, path: figures.append(fig))
    yield heg3d_pictures, figures
    plt.close("all")


@pytest.fixture
def draws():
    """States of the lowest orbitals, and electrons anywhere, but no closer than 0.1 L."""
    random = np.random.default_rng(0)
    K = np.stack(
        [np.concatenate([np.sort(random.permutation(7)[:2]), random.permutation(7)[:1]]) for _ in range(400)]
    )
    R = random.uniform(0, GAS.L, (4000, 3, 3))
    d = R[:, [0, 0, 1]] - R[:, [1, 2, 2]]
    apart = np.linalg.norm(d - GAS.L * np.round(d / GAS.L), axis=-1).min(axis=1) > 0.1 * GAS.L
    found = draws_of_states(K, np.zeros(400), np.zeros(400), GAS.temperature)
    return found._replace(samples={"K": K, "R": R[apart][:400]})


def test_pair_correlation_leaves_out_what_no_pair_has_reached(pictures, draws):
    module, figures = pictures
    module.plot_pair_correlation(None, GAS, draws)
    (axis,) = figures[0].axes
    labels = axis.get_legend_handles_labels()[1]
    assert sorted(labels) == [
        f"{pair}, {of}" for pair in ("up-down", "up-up") for of in ("ideal gas", "this run")
    ]
    for bars in axis.containers:
        r, g = bars.lines[0].get_data()
        assert r.min() > 0.1 * GAS.L - GAS.L / 60 and np.all(g > 0)
    curves = canonical_pair_correlation(GAS, np.linspace(0, GAS.L / 2, 120))
    assert axis.get_ylim()[0] == 0 and max(x.max() for x in curves.values()) < axis.get_ylim()[1] < 2.5


def test_occupations_of_both_spins_are_told_apart(pictures, draws):
    module, figures = pictures
    module.plot_occupations(None, GAS, draws)
    (axis,) = figures[0].axes
    handles, labels = axis.get_legend_handles_labels()
    marker = {
        label: handle.get_marker() for handle, label in zip(handles, labels, strict=True) if "ideal" in label
    }
    assert marker["up, ideal gas"] != marker["down, ideal gas"]
    assert axis.get_title().startswith("2 up + 1 down, 3D")


def test_the_steps_of_one_draw_are_those_of_the_program(pictures, draws):
    """Untrained, the flow is the identity; R is what the program itself draws with this key."""
    module, figures = pictures
    key = jax.random.key(3)
    params = jax.jit(lambda key: parameters(trace(seed(electron_gas, key)).get_trace(GAS)))(jax.random.key(0))
    K, zeta, R = module.one_draw(electron_gas, params, key, GAS)
    assert K.shape == (3,) and len(set(K[:2])) == 2
    np.testing.assert_allclose(zeta, R, atol=1e-12)

    module.plot_pipeline(None, GAS, draws, (K, zeta, R))
    mean, marks, before, after, *_ = figures[0].axes
    titles = [axis.get_title() for axis in (mean, before, after)]
    assert [text for text in titles if text] == titles and "p(K)" in titles[0] and "Phi_K" in titles[1]
    full = [line for line in marks.lines if line.get_markerfacecolor() != "none"]
    assert sum(len(line.get_xdata()) for line in full) == 3  # one orbital an electron


def parameters(sites):
    return {name: site["value"] for name, site in sites.items() if site["type"] == "param"}
