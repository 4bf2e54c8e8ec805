"""`ringviz cpus`: the CPUs whose costs can be charged, what each has, and where the figures come from."""

from typing import Annotated

import typer

from ringviz.cli.cpu_report import causes as causes_text
from ringviz.cli.cpu_report import features_of, lacking, one_cpu, overview
from ringviz.cli.exits import Exit
from ringviz.cli.names import known
from ringviz.cli.options import Json, cpu_ids
from ringviz.cli.output import print_json, print_lines
from ringviz.errors import InputError
from ringviz.facts.costs import BUILT_IN_CPUS, CAUSES, CPU_PROFILES, CpuProfile
from ringviz.facts.cpu_identity import CPU_IDENTITIES
from ringviz.facts.instruction_weights import CLASSES, weight_of, weight_source
from ringviz.facts.source import Source
from ringviz.facts.tlb_geometry import real_tlbs

SCHEMA = 1

Which = Annotated[
    str | None,
    typer.Argument(
        metavar="[CPU]",
        help="Only this CPU: its id, or a profile file of your own.",
        show_default=False,
        autocompletion=cpu_ids,
    ),
]
Causes = Annotated[
    bool, typer.Option("--causes", help="Print what is counted, what a price is for, and what it is not for.")
]
Toml = Annotated[
    bool, typer.Option("--toml", help="Print the CPU as a complete profile file, to be edited and given to --cpu.")
]


def cpus(cpu: Which = None, causes: Causes = False, toml: Toml = False, json: Json = False) -> int:
    """List the CPUs, what each has for a VMM, and the sources of its costs."""
    if sum((causes, toml, json)) > 1 and not (causes and json and not toml):
        raise InputError("--toml goes with no other option: it prints one CPU as a file")
    if causes:
        if cpu is not None:
            raise InputError("--causes goes without a CPU: causes are the same on all of them")
        if json:
            print_json({"schema": SCHEMA, "causes": _causes()})
        else:
            print_lines(causes_text())
        return Exit.DONE
    profile = None if cpu is None else _found(cpu)
    if toml:
        if profile is None:
            raise InputError("--toml needs a CPU: ringviz cpus ID --toml")
        from ringviz.machine.profile_text import profile_toml

        print_lines(profile_toml(profile))
    elif json:
        shown = BUILT_IN_CPUS.values() if profile is None else (profile,)
        print_json({"schema": SCHEMA, "cpus": [_object(one) for one in shown]})
    else:
        print_lines(overview() if profile is None else one_cpu(profile))
    return Exit.DONE


def _found(cpu: str) -> CpuProfile:
    from ringviz.machine.profile_file import cpu_asked_for

    return CPU_PROFILES[known("CPU", cpu_asked_for(cpu), CPU_PROFILES)]


def _object(profile: CpuProfile) -> dict[str, object]:
    identity = CPU_IDENTITIES[profile.identity]
    return {
        "id": profile.id,
        "title": profile.title,
        "vendor": profile.vendor,
        "year": profile.year,
        "features": features_of(profile),
        "lacks": lacking(profile),
        "clock_hz": profile.clock_hz,
        "note": profile.note,
        "source": _citation(profile.source),
        "base": profile.base or None,
        "cpuid": {
            "vendor": identity.vendor,
            "brand": identity.brand.strip(),
            "signature": identity.signature,
            "family": identity.family,
            "model": identity.model,
            "stepping": identity.stepping,
            "note": identity.note,
            "source": _citation(identity.source),
        },
        "costs": [
            {
                "cause": cost.cause,
                "title": CAUSES[cost.cause].title,
                "level": CAUSES[cost.cause].level,
                "part_of": CAUSES[cost.cause].part_of,
                "cycles": cost.cycles,
                "low": cost.low,
                "high": cost.high,
                "note": cost.note,
                "borrowed_from": cost.lender or None,
                "source": _citation(cost.source),
            }
            for cost in profile.costs.values()
        ],
        "weights": [
            {
                "class": row.id,
                "title": row.title,
                "hundredths_of_a_cycle": weight_of(row.id, profile.weights),
                "source": _citation(weight_source(row.id, profile)),
            }
            for row in CLASSES.values()
        ],
        "tlb": {
            "entries": profile.tlb.entries,
            "ways": profile.tlb.ways,
            "source": _citation(profile.tlb.source),
            "real": [
                {"holds": tlb.holds, "pages": tlb.pages, "entries": tlb.entries, "ways": tlb.ways}
                for tlb in real_tlbs(identity)
            ],
        },
    }


def _causes() -> list[dict[str, object]]:
    return [
        {
            "id": cause.id,
            "title": cause.title,
            "level": cause.level,
            "part_of": cause.part_of,
            "counted": cause.counted,
            "included": cause.included,
            "left_out": cause.left_out,
        }
        for cause in CAUSES.values()
    ]


def _citation(source: Source) -> dict[str, object]:
    return {
        "work": source.work,
        "section": source.section,
        "status": source.status.name.lower().replace("_", "-"),
        "note": source.note,
    }
