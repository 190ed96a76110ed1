"""The FermiNet flow."""

from pnct.flows.ferminet.network import FermiNet, ferminet

__all__ = ["FermiNet", "ferminet"]
