"""The determinants of lowest energy  sum_i e_{k_i},  from the energies of the orbitals, without a list of all
of them.
"""

import heapq
from functools import lru_cache

import numpy as np
from jaxtyping import Int


@lru_cache(maxsize=64)
def lowest_configurations(
    energies: tuple[float, ...], num_electrons: tuple[int, int], lowest: int
) -> Int[np.ndarray, "S N"]:
    """The determinants of lowest energy, at least `lowest` of them, whole levels; equal energies in the order
    of K.

    energies: ascending. Best first: every other determinant is reached from the ground state by moving one
    electron up by one orbital at a time, which never lowers the energy.
    """
    M = len(energies)
    up = num_electrons[0]
    ground = (*range(up), *range(num_electrons[1]))

    def level(K):
        return round(sum(energies[k] for k in K), 6)

    found = []
    seen = {ground}
    waiting = [(level(ground), ground)]
    while waiting and (len(found) < lowest or waiting[0][0] == level(found[-1])):
        _, K = heapq.heappop(waiting)
        found.append(K)
        for i, k in enumerate(K):
            last = i + 1 in (up, len(K))
            if k + 1 < (M if last else K[i + 1]):
                higher = (*K[:i], k + 1, *K[i + 1 :])
                if higher not in seen:
                    seen.add(higher)
                    heapq.heappush(waiting, (level(higher), higher))
    return np.array(found)
