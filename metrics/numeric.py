"""Numeric agreement: numbers read from values or texts, compared within a tolerance, exactly.

Numbers are read as fractions, not as floating point, so that 0.1 is a tenth and a
difference equal to the tolerance is within it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from numbers import Rational, Real
from typing import Any

from metrics.fields import Metric, named, predicted

_UNSIGNED = r"(?:\d{1,3}(?:[,\u00a0\u202f]\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    r"(?:(?<![\w.,)%/])(?P<sign>[-+\u2212]))?(?:[$\u20ac\u00a3\u00a5]\s?)?(?<![\w.])"
    r"(?:(?P<units>\d+) (?=\d+/\d))?"
    rf"(?P<whole>{_UNSIGNED})"
    r"(?:[eE](?P<power>[-+]?\d+)|\s?/\s?(?P<below>\d+)(?![\d/]))?"
    r"(?:\s?(?P<percent>%|percent\b|per cent\b))?"
)
_SEPARATORS = re.compile(r"[,\u00a0\u202f]")

MOST_DIGITS, MOST_POWER = 400, 400
"""More digits, or a power of ten beyond this, are no number: nothing a task asks for, and slow."""


@dataclass(frozen=True)
class Number:
    """A number as it was written.

    Attributes:
        value: Its value, a percentage as a share: 12% is 3/25.
        percent: Whether it was written as a percentage.
    """

    value: Fraction
    percent: bool = False


def numeric_match(field: str, *, absolute: float = 0.0, relative: float = 0.0) -> Metric:
    """A metric that is 1.0 when the predicted number is the labelled one within a tolerance, else 0.0.

    Both are read with :func:`last_number`. ``12%`` equals ``0.12``; where only one of the two
    is written as a percentage, it also equals ``12``, since labels often leave the sign out.

    Args:
        field: Output field to compare.
        absolute: Difference allowed, in the label's units, at least 0.
        relative: Difference allowed as a share of the label's size, at least 0. The larger
            of the two counts.

    Returns:
        ``metric(example, pred, trace=None)``. A prediction without a number scores 0.0.

    Raises:
        ValueError: A tolerance is negative or not finite; or, when scored, a label has no number.
    """
    for name, tolerance in (("absolute", absolute), ("relative", relative)):
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ValueError(f"numeric_match({field!r}): {name}={tolerance} is no tolerance; give 0 or more")
    within, share = Fraction(str(absolute)), Fraction(str(relative))

    def metric(example: Any, pred: Any, trace: Any = None) -> float:
        label = last_number(example[field])
        if label is None:
            raise ValueError(f"the label {field}={example[field]!r} holds no number")
        found = last_number(predicted(pred, field))
        return float(found is not None and _agree(label, found, within, share))

    return named(metric, f"numeric_match({field})")


def last_number(value: Any) -> Number | None:
    """The number a value is, or the last one in a text; None without any.

    The last one, because a text that reasons ends with its answer. Read are signs, thousands
    separators (commas and narrow spaces between groups of three), decimals, powers of ten
    (``2e3``), fractions (``3/4``, ``2 1/2``), percentages and a currency sign before the number. A slash
    between three numbers, as in a date, divides nothing.

    Args:
        value: A number, or text that holds one. Truth values, NaN and infinity are none.
    """
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, Rational):
        return Number(Fraction(int(value.numerator), int(value.denominator)))
    if isinstance(value, (Real, Decimal)):
        return Number(Fraction(str(value))) if math.isfinite(value) else None
    if not isinstance(value, str):
        return None
    last = None
    for found in _NUMBER.finditer(value):
        last = _read(found) or last
    return last


def _read(found: re.Match[str]) -> Number | None:
    digits = _SEPARATORS.sub("", found["whole"])
    if len(found[0]) > MOST_DIGITS or abs(int(found["power"] or 0)) > MOST_POWER:
        return None
    value = Fraction(digits) * Fraction(10) ** int(found["power"] or 0)
    if found["below"]:
        if found.string[found.start("whole") - 1 : found.start("whole")] == "/":
            value = Fraction(found["below"])  # the end of a date such as 3/4/2024
        elif int(found["below"]) == 0:
            return None
        else:
            value = value / int(found["below"]) + int(found["units"] or 0)
    if found["sign"] in ("-", "\u2212"):
        value = -value
    return Number(value / 100, percent=True) if found["percent"] else Number(value)


def _agree(label: Number, found: Number, within: Fraction, share: Fraction) -> bool:
    readings = [(label.value, found.value)]
    if label.percent != found.percent:
        # The one with the sign, read without it.
        label_scale, found_scale = (100, 1) if label.percent else (1, 100)
        readings.append((label.value * label_scale, found.value * found_scale))
    return any(abs(wanted - given) <= max(within, share * abs(wanted)) for wanted, given in readings)
