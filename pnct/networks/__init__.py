"""Networks that flows and distributions are made of."""

from pnct.networks.pair_mlp import PairMLP, pair_mlp
from pnct.networks.transformer import Transformer, transformer

__all__ = ["PairMLP", "Transformer", "pair_mlp", "transformer"]
