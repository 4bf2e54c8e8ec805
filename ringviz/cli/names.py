"""Names given on the command line: the known one, or an error that says what was probably meant."""

from collections.abc import Iterable

from ringviz.errors import InputError
from ringviz.guest.schema import did_you_mean


def known(kind: str, given: str, names: Iterable[str]) -> str:
    """Give the name back if it is one of those known.

    Args:
        kind: what the name is a name of, for the message.
        given: the name.
        names: those known.

    Raises:
        InputError: it is not one of them; the text lists them all and offers the nearest.
    """
    choices = list(names)
    if given in choices:
        return given
    raise InputError(f'{kind} "{given}" unknown; choose one of {", ".join(choices)}{did_you_mean(given, choices)}')
