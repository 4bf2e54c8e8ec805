"""Slowdowns that nobody has measured, on real CPUs: whole per cents of bare metal."""

from collections.abc import Mapping

from ringviz.engine.bill import Bill
from ringviz.engine.generations import WAYS, Generations, Point, priced
from ringviz.engine.work import Work
from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.instruction_weights import HUNDREDTHS

SLOWDOWNS: Mapping[str, Mapping[str, int]] = {
    "p4-672": {"binary-translation": 300, "vt-x-shadow": 600, "paravirt": 200},
    "core2": {"binary-translation": 300, "vt-x-shadow": 301, "paravirt": 200},
    "k8-revf": {"binary-translation": 300, "paravirt": 200, "amd-v-shadow": 250},
    "nehalem": {"binary-translation": 300, "vt-x-shadow": 280, "vt-x-nested": 110, "paravirt": 200},
    "skylake": {"binary-translation": 300, "vt-x-shadow": 250, "vt-x-nested": 100, "paravirt": 200},
}


def fake_years(scenario: str, slowdowns: Mapping[str, Mapping[str, int]] = SLOWDOWNS) -> Generations:
    """Give a result in which each way has run so many per cent of bare metal's thousand instructions, a cycle each."""
    points = []
    for cpu_id, by_way in slowdowns.items():
        cpu = CPU_PROFILES[cpu_id]
        for way in WAYS:
            if way.id in by_way:
                direct = by_way[way.id] * 10
                bill = Bill(direct, 0, {}, {}, direct * HUNDREDTHS)
                work = Work(0, direct, bill, ("exit", 1, ""), asks_the_cpu=False, walks=None)
                points.append(Point(way, cpu, 1000, priced(work, cpu), has_walks=False))
    ways = tuple(way for way in WAYS if any(point.way is way for point in points))
    return Generations(scenario, False, {}, (), tuple(points), (), ways)
