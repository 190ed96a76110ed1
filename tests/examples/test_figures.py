"""What a figure shows is written beside it: every named curve with its errors, at its own numbers."""

import csv
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def figures(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import figures

    return figures


def test_a_figure_is_written_with_its_numbers(figures, tmp_path):
    plt = figures.plt
    fig, axis = plt.subplots()
    x, y, error = np.array([1.0, 2.0, 4.0]), np.array([0.1, -0.2, 0.3]), np.array([0.01, 0.02, 0.04])
    figures.errorbar_beside(axis, 5.0, x, y, error, capsize=2, label="with errors")
    assert axis.dataLim.x1 == 4.0 and axis.dataLim.y0 == pytest.approx(-0.22)
    axis.plot(x, 2 * y, label="_not in the legend")
    axis.plot(x, 3 * y)  # nameless
    axis.axhline(1.0, label="a level")
    axis.imshow(np.arange(6).reshape(2, 3), extent=(0, 3, 0, 2), origin="lower", label="image")
    axis.set(xlabel="x axis", ylabel="y axis", title="panel", xlim=(0, 5), ylim=(-1, 1))
    axis.legend()
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a level", "with errors"]
    figures.save(fig, tmp_path / "figure.png")

    for ending in ("png", "pdf"):
        assert (tmp_path / f"figure.{ending}").stat().st_size > 1000
    rows = list(csv.DictReader((tmp_path / "figure.csv").read_text().splitlines()))
    assert {row["curve"] for row in rows} == {"with errors", "not in the legend", "image"}
    assert {row["panel"] for row in rows} == {"panel"} and {row["x axis"] for row in rows} == {"x axis"}

    def column(curve, name):
        return [float(row[name]) for row in rows if row["curve"] == curve]

    np.testing.assert_allclose(column("with errors", "x"), x)
    np.testing.assert_allclose(column("with errors", "y"), y)
    np.testing.assert_allclose(column("with errors", "error"), error)
    np.testing.assert_allclose(column("not in the legend", "y"), 2 * y)
    assert column("image", "value") == list(range(6)) and column("image", "x")[:3] == [0.5, 1.5, 2.5]
