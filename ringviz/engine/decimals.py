"""Exact fractions as people write them."""

from fractions import Fraction


def decimals(value: Fraction, places: int = 2) -> str:
    """Give a fraction with so many decimals; half is rounded up."""
    scaled = (2 * value * 10**places + 1) // 2
    whole, part = divmod(abs(scaled), 10**places)
    sign = "-" if scaled < 0 else ""
    return f"{sign}{whole:,}.{part:0{places}}"


def decimal(value: Fraction, places: int = 2) -> str:
    """Give a fraction with as many decimals as it needs, up to some."""
    return decimals(value, places).rstrip("0").rstrip(".")
