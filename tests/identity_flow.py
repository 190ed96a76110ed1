"""The flow of free electrons, R -> R: the Born distribution is then that of plane waves, and all is known."""

from pnct.flows import Flow


class Identity(Flow):
    """zeta = R."""

    def __call__(self, R):
        return R
