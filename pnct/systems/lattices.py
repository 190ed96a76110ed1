"""Sites and the bonds between them: chains, square lattices, any graph."""

import warnings
from collections.abc import Iterable
from itertools import pairwise

import equinox as eqx

from pnct.validation import checked_integer


class Lattice(eqx.Module):
    """A graph. num_sites: sites are numbered from 0.  bonds: pairs of sites, each pair once."""

    num_sites: int = eqx.field(static=True)
    bonds: tuple[tuple[int, int], ...] = eqx.field(static=True)

    def __init__(self, num_sites: int, bonds: Iterable[tuple[int, int]]):
        self.num_sites = checked_integer("num_sites", num_sites, 1)
        self.bonds = tuple(_checked_bond(bond, self.num_sites) for bond in bonds)
        if len({frozenset(bond) for bond in self.bonds}) < len(self.bonds):
            raise ValueError(f"Expected every bond once; got {self.bonds}.")


def chain(length: int, periodic: bool = False) -> Lattice:
    """Sites in a row. A periodic chain of two sites has one bond, not two, and a UserWarning says so."""
    length = checked_integer("length", length, 1)
    return Lattice(length, _along(list(range(length)), periodic))


def square(rows: int, columns: int, periodic: bool = False) -> Lattice:
    """Site i is in row i // columns. A periodic side of two has each of its bonds once, and a UserWarning
    says so.
    """
    rows = checked_integer("rows", rows, 1)
    columns = checked_integer("columns", columns, 1)
    lines = [[row * columns + column for column in range(columns)] for row in range(rows)]
    lines += [[row * columns + column for row in range(rows)] for column in range(columns)]
    return Lattice(rows * columns, dict.fromkeys(bond for line in lines for bond in _along(line, periodic)))


def _along(line, periodic):
    bonds = list(pairwise(line))
    if periodic and len(line) == 2:
        warnings.warn(
            "A periodic side of 2 meets itself across both ends; each of its bonds counts once.", stacklevel=4
        )
    return bonds + ([(line[0], line[-1])] if periodic and len(line) > 2 else [])


def _checked_bond(bond, num_sites) -> tuple[int, int]:
    try:
        i, j = bond
        whole = int(i) == i and int(j) == j
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"Expected a bond to be a pair of sites; got {bond!r}.") from None
    if not whole or not (0 <= i < num_sites and 0 <= j < num_sites) or i == j:
        raise ValueError(f"Expected bonds between two of the sites 0 ... {num_sites - 1}; got {bond!r}.")
    return (min(int(i), int(j)), max(int(i), int(j)))
