"""Numbers as people read them, and the way to a number inside nested JSON.

A log may hold null where a number should be, or lack the key. Everything here passes
None through, and shows it as a dash, so that no caller has to ask.
"""

import math
from typing import Any

ABSENT = "-"
PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def number(tree: Any, *path: str | int) -> float | None:
    """Returns the finite number found by following `path`, or None.

    Examples:
        >>> number({"size": {"params": 12}}, "size", "params")
        12.0
        >>> number({"size": {"params": None}}, "size", "params") is None
        True
    """
    for step in path:
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            return None
    if isinstance(tree, bool) or not isinstance(tree, int | float):
        return None
    try:
        return float(tree) if math.isfinite(tree) else None
    except OverflowError:
        return None


def divide(part: float | None, whole: float | None) -> float | None:
    """Returns ``part / whole``, or None where that has no meaning."""
    if part is None or not whole:
        return None
    return part / whole


def format_count(value: float | None) -> str:
    """Writes a whole number in full, with thousands separators.

    Examples:
        >>> format_count(4194304)
        '4,194,304'
    """
    return ABSENT if value is None else f"{value:,.0f}"


def format_si(value: float | None, unit: str = "") -> str:
    """Writes a number with three digits and a decimal prefix.

    Examples:
        >>> format_si(7_077_888, "FLOP"), format_si(950, "B"), format_si(999_999)
        ('7.08 MFLOP', '950 B', '1.00 M')
    """
    if value is None:
        return ABSENT
    power = 0
    while abs(value) >= 999.5 and power < len(PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{_three_digits(value, whole=power == 0)} {PREFIXES[power]}{unit}".rstrip()


def format_decimal(value: float | None, unit: str = "", digits: int = 3) -> str:
    """Writes a measured number with a fixed number of decimals."""
    if value is None:
        return ABSENT
    if value and abs(value) < 10**-digits:
        return f"{value:.1e} {unit}".rstrip()
    return f"{value:,.{digits}f} {unit}".rstrip()


def format_signed(value: float | None, digits: int = 4) -> str:
    """Writes a change, with its sign.

    Examples:
        >>> format_signed(0.25, 3), format_signed(-0.00016, 3)
        ('+0.250', '-1.6e-04')
    """
    if value is None:
        return ABSENT
    is_small = value and abs(value) < 10**-digits
    return f"{value:+.1e}" if is_small else f"{value:+.{digits}f}"


def format_interval(
    value: float | None, low: float | None, high: float | None, digits: int = 3
) -> str:
    """Writes a value and half of its interval, where that is known.

    Examples:
        >>> format_interval(1.5, 1.488, 1.512), format_interval(1.5, None, None)
        ('1.500 ± 0.012', '1.500')
    """
    if value is None:
        return ABSENT
    text = f"{value:.{digits}f}"
    return (
        text
        if low is None or high is None
        else (f"{text} ± {(high - low) / 2:.{digits}f}")
    )


def format_percent(fraction: float | None) -> str:
    """Writes a fraction in percent.

    Examples:
        >>> format_percent(0.412), format_percent(0.0123)
        ('41 %', '1.2 %')
    """
    if fraction is None:
        return ABSENT
    digits = 1 if 0 < abs(fraction) < 0.0995 else 0
    return f"{100 * fraction:.{digits}f} %"


def format_times(ratio: float | None) -> str:
    """Writes a ratio as a factor.

    Examples:
        >>> format_times(1.857)
        '1.86x'
    """
    return ABSENT if ratio is None else f"{ratio:.2f}x"


def format_duration(seconds: float | None) -> str:
    """Writes a time span in the unit that suits it.

    Examples:
        >>> format_duration(0.0832), format_duration(75), format_duration(9000)
        ('83.2 ms', '1 min 15 s', '2 h 30 min')
    """
    if seconds is None:
        return ABSENT
    if seconds < 1:
        return f"{_three_digits(1000 * seconds)} ms"
    if seconds < 60:
        return f"{_three_digits(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def _three_digits(value: float, *, whole: bool = False) -> str:
    if whole and value == round(value):
        return f"{value:.0f}"
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f}"
