"""The guest that a command line asks for: which, on what machine, and for how long."""

from ringviz.guest.scenario import Scenario, find_scenario, with_disks, with_limits, with_typist


def chosen(
    name: str,
    disk: str | None = None,
    disk2: str | None = None,
    memory_mib: int | None = None,
    limit: int | None = None,
    console_input: str | None = None,
    keys: str | None = None,
) -> Scenario:
    """Give the scenario with this id, in this folder, or made up around this image file, changed as asked.

    Args:
        name: id or path.
        disk: another image for the first disk.
        disk2: another one for the second.
        memory_mib: another size of memory.
        limit: another number of instructions after which the run stops.
        console_input: a file with what a terminal sends.
        keys: what is typed at the keyboard.

    Raises:
        InputError: there is none, or the machine cannot be such; one line.
    """
    typed = with_typist(find_scenario(name), console_input, keys)
    return with_limits(with_disks(typed, disk, disk2), memory_mib, limit)
