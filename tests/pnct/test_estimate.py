"""Estimate prints as a physicist writes it: value(error in units of the last digits)."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pnct.estimate import Estimate, mean_of_independent


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-0.1206, 0.00032, "-0.12060(32)"),
        (0.5, 0.1, "0.50(10)"),
        (1.234, 0.0994, "1.234(99)"),
        (1.234, 0.0996, "1.23(10)"),  # rounds up to three digits: one decimal less
        (12.34, 0.996, "12.3(10)"),
        (12.34, 9.96, "12(10)"),
        (12.34, 5.0, "12.3(50)"),
        (1234.5, 12.0, "1234(12)"),
        (1234.5, 99.6, "1230(100)"),
        (123456.0, 1234.0, "123500(1200)"),
        (2.0, 1e-9, "2.0000000000(10)"),
        (0.25, 0.0, "0.250000(0)"),
        (np.float32(0.5), np.float32(0.01), "0.500(10)"),
    ],
)
def test_prints_two_digits_of_the_error(value, error, text):
    assert str(Estimate(value, error, 10.0)) == text


def test_prints_what_is_not_finite():
    assert str(Estimate(math.nan, 0.1, 1.0)) == "nan(0.1)"
    assert str(Estimate(1.5, math.nan, 1.0)) == "1.5(nan)"
    assert str(Estimate(1.5, math.inf, 1.0)) == "1.5(inf)"


@given(
    st.floats(-1e6, 1e6),
    st.floats(min_value=0, max_value=1e6, exclude_min=True, allow_subnormal=True),
)
@settings(max_examples=300, deadline=None)
def test_what_is_printed_reads_back(value, error):
    text = str(Estimate(value, error, 1.0))
    number, decimals, digits = re.fullmatch(r"(-?\d+(?:\.(\d+))?)\((\d+)\)", text).groups()
    unit = 10.0 ** -len(decimals or "")
    if error > 1e-290:
        # Two digits hold the error to 5 %, and the value is rounded by half a last digit of the error.
        assert abs(int(digits) * unit - error) <= 0.051 * error
        assert abs(float(number) - value) <= 0.51 * error + 1e-15 * abs(value)


@given(st.floats(-1e3, 1e3), st.floats(0, 1e3), st.floats(-1e3, 1e3))
@settings(max_examples=50, deadline=None)
def test_scaled(value, error, factor):
    scaled = Estimate(value, error, 7.0).scaled(factor)
    assert scaled == (value * factor, error * abs(factor), 7.0)
    assert scaled.error >= 0


def test_to_json_is_json():
    estimate = Estimate(np.float32(0.5), np.float64(0.25), 3.0)
    assert json.loads(json.dumps(estimate.to_json())) == {"value": 0.5, "error": 0.25}


def test_mean_of_independent():
    x = np.random.default_rng(0).normal(3.0, 2.0, 10_000)
    estimate = mean_of_independent(x)
    assert abs(estimate.value - 3.0) < 5 * 0.02
    assert abs(estimate.error / 0.02 - 1) < 5 / math.sqrt(2 * x.size)
    assert estimate.ess == x.size


def test_mean_of_one_sample_has_no_error_bar():
    assert math.isnan(mean_of_independent([1.0]).error)
