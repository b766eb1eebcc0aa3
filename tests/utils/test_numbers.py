"""Numbers that people read."""

import math

import pytest

from moeisr_plugin.utils.numbers import plain


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (1, "1"),
        (-2.5, "-2.5"),
        (0.123456, "0.1235"),
        (0.99996, "1"),
        (3.4e-01, "0.34"),
        (1e-4, "0.0001"),
        (5e-05, "0.00005"),
        (1.23456e-7, "0.0000001235"),
        (1234.56, "1,235"),
        (6000, "6,000"),
        (100, "100"),
        (1e6, "1,000,000"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_plain_numbers_have_four_digits_and_no_exponent(number, text):
    assert plain(number) == text


def test_the_number_of_digits_can_be_chosen():
    assert plain(0.98765, 2) == "0.99"
