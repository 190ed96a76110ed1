"""The comparison of the flows of a dot runs, and all of them start from the same state of free electrons."""

import json

import numpy as np
import pytest
from dot_flows import FLOWS, main


@pytest.mark.slow
def test_without_interaction_all_are_the_ideal_dot(tmp_path):
    main(f"--out {tmp_path} --coupling 0 --beta 5 --steps 1 --walkers 16 --samples 64".split())
    flows = json.loads((tmp_path / "dot_flows.json").read_text())["flows"]
    assert list(flows) == list(FLOWS)
    F = [flow["free_energy"][0] for flow in flows.values()]
    assert np.ptp(F) < 0.2 and min(F) > 4.9
    assert all(flow["seconds"] > 0 and flow["parameters"] > 50 for flow in flows.values())
