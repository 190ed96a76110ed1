"""A flow of which only the map is known, as a user writes it: its derivatives are those of automatic
differentiation.
"""

from pnct.flows import Flow


class MapAlone(Flow):
    """zeta = T(R) of another flow, without the methods of that flow."""

    flow: Flow

    def __call__(self, R):
        return self.flow(R)
