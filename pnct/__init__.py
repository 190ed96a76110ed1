"""pnct: the finite-temperature electron gas as a probabilistic program."""
