"""Networks that flows and distributions are made of."""

from pnct.networks.pair_mlp import EvenNetwork, even_network
from pnct.networks.transformer import Transformer, transformer

__all__ = ["EvenNetwork", "Transformer", "even_network", "transformer"]
