"""Whether error bars cover the truth at the stated rate: 68.3 % within one of them and 95.4 % within two."""

import numpy as np

REPEATS = 200


def assert_covered(scores: dict) -> None:
    """scores: {name: (found - exact)/error of 200 repeats, shape (200,) or (200, ...)}. Each rate holds to 3
    binomial sigma.
    """
    for name, z in scores.items():
        z = np.abs(np.asarray(z, float))
        assert len(z) == REPEATS and np.all(np.isfinite(z)), name
        for sigmas, rate in ((1, 0.683), (2, 0.954)):
            covered = np.mean(z < sigmas, axis=0)
            assert np.all(np.abs(covered - rate) < 3 * np.sqrt(rate * (1 - rate) / REPEATS)), (
                name,
                sigmas,
                covered,
            )


def parts(samples_each: int) -> list[slice]:
    """The samples of each repeat."""
    return [slice(samples_each * i, samples_each * (i + 1)) for i in range(REPEATS)]
