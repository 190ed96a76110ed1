"""A figure as PNG, as PDF, and as the numbers that it shows, in a CSV of the same name.

A label that begins with _ is not in the legend, but names the curve in the CSV.
"""

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.transforms import BlendedAffine2D, BlendedGenericTransform, ScaledTranslation

COLUMNS = ("panel", "x axis", "y axis", "curve", "x", "y", "error", "value")
UNNAMED = ("child", "nolegend")  # how matplotlib's own labels go on after _


def save(fig, path: Path, dpi: int = 150) -> None:
    """Writes path (.png), and beside it .pdf and .csv; closes the figure."""
    fig.savefig(path, dpi=dpi)
    fig.savefig(path.with_suffix(".pdf"))
    rows = plotted_numbers(fig)
    if rows:
        with path.with_suffix(".csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    plt.close(fig)


def plotted_numbers(fig) -> list[dict]:
    """One row per point of every named curve, and per pixel of every image."""
    rows = []
    for axis in fig.axes:
        where = dict(zip(COLUMNS, (axis.get_title(), axis.get_xlabel(), axis.get_ylabel()), strict=False))
        barred = {bars.lines[0]: bars for bars in axis.containers if bars.lines[0] is not None}
        for line in axis.lines:
            bars = barred.get(line)
            label = (line if bars is None else bars).get_label().removeprefix("_")
            level = isinstance(line.get_transform(), BlendedGenericTransform | BlendedAffine2D)
            if label.startswith(UNNAMED) or not label or level:
                continue
            errors = _errors(bars) if bars is not None and bars.has_yerr else [""] * len(line.get_xdata())
            for x, y, error in zip(line.get_xdata(), line.get_ydata(), errors, strict=True):
                rows.append(where | {"curve": label, "x": x, "y": y, "error": error})
        for image in axis.images:
            values = np.asarray(image.get_array())
            left, right, bottom, top = image.get_extent()
            size = (right - left) / values.shape[1], (top - bottom) / values.shape[0]
            for i, j in np.ndindex(values.shape):
                place = {"x": left + (j + 0.5) * size[0], "y": bottom + (i + 0.5) * size[1]}
                rows.append(where | {"curve": image.get_label(), **place, "value": values[i, j]})
    return rows


def errorbar_beside(axis, points: float, x, y, error, **style) -> None:
    """axis.errorbar, shown so many points of the page to the right, so that curves of one x are told apart;
    its numbers stay as they are.
    """
    bars = axis.errorbar(x, y, error, **style)
    moved = axis.transData + ScaledTranslation(points / 72, 0, axis.figure.dpi_scale_trans)
    for artist in bars.get_children():
        artist.set_transform(moved)


def _errors(bars) -> list[float]:
    """Half the lengths of the error bars along y, which come last."""
    segments = bars.lines[2][-1].get_segments()
    return [float(s[1, 1] - s[0, 1]) / 2 if len(s) == 2 else "" for s in segments]
