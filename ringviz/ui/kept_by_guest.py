"""Whose it is what is kept: a guest's, and that of what somebody has made of it in the editor: to them it is one."""

_EDITED = "-edited"
"""What stands behind the id of a guest that was changed."""


def guest_of(scenario: str) -> str:
    """Give the id under which something is kept for a guest: that of the original."""
    return scenario.removesuffix(_EDITED)


def is_of(build: str, shown: str) -> bool:
    """Tell whether something kept belongs to the build that is shown; what older files have does not say."""
    return not build or not shown or build == shown
