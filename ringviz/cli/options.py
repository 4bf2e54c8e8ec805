"""The arguments that several commands share, declared once, and what a shell may complete them with."""

from typing import Annotated

import typer

from ringviz.facts.costs import CPU_PROFILES
from ringviz.guest.scenario import list_scenarios


def scenario_ids(incomplete: str) -> list[str]:
    """Complete the id of a scenario."""
    return [
        scenario.id for scenario in list_scenarios(on_error=lambda error: None) if scenario.id.startswith(incomplete)
    ]


def _technique_ids(incomplete: str) -> list[str]:
    from ringviz.vmm import registry

    return [technique for technique in registry.available() if technique.startswith(incomplete)]


def cpu_ids(incomplete: str) -> list[str]:
    """Complete the id of a CPU."""
    return [cpu for cpu in CPU_PROFILES if cpu.startswith(incomplete)]


def known_cpu(context: typer.Context, value: str | None) -> str | None:
    """Take an id as it is, and a path for a file that tells of a CPU: its id is the file's name."""
    if value is None or context.resilient_parsing:
        return value
    from ringviz.machine.profile_file import cpu_asked_for

    return cpu_asked_for(value)


Scenario = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="A scenario's id from `ringviz list`, the path of its folder, or an image of your own: "
        "a Multiboot kernel, a boot sector or a disk.",
        autocompletion=scenario_ids,
    ),
]
Technique = Annotated[
    str,
    typer.Option(
        "--technique",
        "-t",
        metavar="ID",
        help="How the guest is virtualized; see `ringviz list`.",
        autocompletion=_technique_ids,
    ),
]
OneTechnique = Annotated[
    str | None,
    typer.Option(
        "--technique",
        "-t",
        metavar="ID",
        help="How the guest is virtualized; see `ringviz list`.",
        autocompletion=_technique_ids,
    ),
]
Techniques = Annotated[
    list[str] | None,
    typer.Option(
        "--technique",
        "-t",
        metavar="ID",
        help="Only this technique; may be given several times.",
        autocompletion=_technique_ids,
    ),
]
Mmu = Annotated[
    str | None,
    typer.Option("--mmu", metavar="ID", help="How memory is virtualized, where the technique has a choice."),
]
Cpu = Annotated[
    str | None,
    typer.Option(
        "--cpu",
        metavar="ID",
        help="The CPU whose costs are charged: an id of `ringviz cpus`, or a profile file of your own (my.toml).",
        autocompletion=cpu_ids,
        callback=known_cpu,
    ),
]
Controls = Annotated[
    list[str] | None,
    typer.Option(
        "--control",
        metavar="±NAME",
        help="Set (+NAME) or clear (-NAME) a control of the technique; may be repeated. See `ringviz controls`.",
    ),
]
Disk = Annotated[
    str | None,
    typer.Option(
        "--disk", metavar="FILE", help="An image, raw or .vhd, for the first disk, in place of the scenario's."
    ),
]
Disk2 = Annotated[
    str | None,
    typer.Option(
        "--disk2", metavar="FILE", help="An image, raw or .vhd, for the second disk, in place of the scenario's."
    ),
]
Brief = Annotated[bool, typer.Option("--brief", help="Print one line for each technique.")]
Memory = Annotated[
    int | None, typer.Option("--memory", metavar="MIB", help="Size of the guest's memory, in place of the scenario's.")
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", help="Stop after so many guest instructions, in place of the scenario's."),
]
ConsoleInput = Annotated[
    str | None, typer.Option("--input", metavar="FILE", help="What a terminal at the guest's UART sends.")
]
Keys = Annotated[
    str | None, typer.Option("--keys", metavar="TEXT", help="What is typed at the guest's keyboard; \\n is Enter.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a text for people.")]
