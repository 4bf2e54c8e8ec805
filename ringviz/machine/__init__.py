"""The physical computer: the only user of Unicorn."""

__all__ = ["selfcheck"]


def selfcheck() -> list[tuple[str, bool, str]]:
    """Try out on this computer what the machine builds on; rows of name, whether it is good, and what was found."""
    # Not above: whoever needs a part of this package that runs nothing must not wait for the emulator to load.
    from ringviz.machine.self_check import self_check

    return self_check()
