"""Tests run in float64 unless one says otherwise; reference values are looked up beside the repository."""

import os
from pathlib import Path

import jax
import pytest

import pnct  # noqa: F401

jax.config.update("jax_enable_x64", True)

REFERENCE = Path(os.environ.get("PNCT_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference values, or a skip where it is absent."""
    if not REFERENCE.is_dir():
        pytest.skip(f"no reference values at {REFERENCE}")
    return REFERENCE
