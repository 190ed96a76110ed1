"""Tests run in float64 unless one says otherwise. Reference values are here, trained networks are not."""

import os
from pathlib import Path

import jax
import pytest
from reference_network import TRAINED_NETWORKS

import pnct  # noqa: F401

jax.config.update("jax_enable_x64", True)


def pytest_configure(config):
    """Quick tests compile far longer than they compute, so they are compiled in a hurry; the slow are not."""
    if "not slow" in config.option.markexpr:
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # for the programs that tests start
        jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True)
def few_compiled_programs():
    """A compiled program keeps some 40 memory maps; Linux allows 65530, fewer than those of all tests."""
    yield
    maps = Path("/proc/self/maps")  # absent elsewhere
    if maps.exists() and maps.read_bytes().count(b"\n") > MAPS:
        jax.clear_caches()


MAPS = 20_000  # beyond which a process starts afresh


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference values."""
    return Path(__file__).parent / "reference"


@pytest.fixture(scope="session")
def trained_networks() -> Path:
    """The folder of published trained networks, or a skip where it is absent."""
    if not TRAINED_NETWORKS.is_dir():
        pytest.skip(f"no trained networks at {TRAINED_NETWORKS} (PNCT_TRAINED_NETWORKS names another place)")
    return TRAINED_NETWORKS
