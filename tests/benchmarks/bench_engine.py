"""How fast the engine is, as ratios and rates from one run: `python -m tests.benchmarks.bench_engine`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from unicorn import UC_ARCH_X86, UC_MODE_32, Uc
from unicorn import x86_const as x86

from ringviz.engine.recording import Recording
from ringviz.engine.session import Session
from ringviz.facts.instruction_weights import HUNDREDTHS
from ringviz.guest import Scenario
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import choose
from tests.vmm.guests import bare_scenario

LOOP_INSTRUCTIONS = 50_000_000
STEPS = 20_000
TRAPS = 40_000
SEEK_RUN_INSTRUCTIONS = 1_000_000


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def loop_of(body: bytes, rounds: int) -> bytes:
    """mov ecx, rounds; body; dec ecx; jnz body; hlt"""
    back = -(len(body) + 3) & 0xFF
    return b"\xb9" + rounds.to_bytes(4, "little") + body + b"\x49\x75" + bytes([back]) + b"\xf4"


def bare_unicorn(code: bytes) -> float:
    """The same code in the emulator and nothing else."""
    uc = Uc(UC_ARCH_X86, UC_MODE_32)
    uc.mem_map(0x10_0000, 0x1000)
    uc.mem_write(0x10_0000, code)
    uc.reg_write(x86.UC_X86_REG_ESP, 0x10_0800)
    return seconds(lambda: uc.emu_start(0x10_0000, 0x10_0000 + len(code) - 1))


def play(scenario: Scenario, technique: str) -> tuple[float, Recording]:
    """Play a run to its end."""
    tape = Recording(scenario, technique, choose(technique))
    return seconds(tape.play_to_the_end), tape


def main() -> None:
    """Print all figures."""
    folder = Path(tempfile.mkdtemp())
    code = loop_of(b"\x01\xc8\x31\xc2\x40", LOOP_INSTRUCTIONS // 5)  # add eax, ecx; xor edx, eax; inc eax
    bare = min(bare_unicorn(code) for _ in range(3))
    print(f"bare Unicorn: {LOOP_INSTRUCTIONS / bare / 1e6:.0f} M instructions/s")
    loop = bare_scenario(folder / "loop", code, limit=10**9)
    for technique in ("native", "amd-v", "trap-emulate"):
        taken, tape = min((play(loop, technique) for _ in range(2)), key=lambda pair: pair[0])
        exact = "exact" if tape.position == LOOP_INSTRUCTIONS + 2 else f"WRONG COUNT {tape.position}"
        weight = tape.technique.guest_weight()
        exact += "" if weight == HUNDREDTHS * (LOOP_INSTRUCTIONS + 1) else f", WRONG WEIGHT {weight}"  # HLT has none
        print(f"{technique}: {100 * bare / taken:.0f} % of bare Unicorn (at least 20 %), {exact}")
    for technique in ("native", "amd-v", "trap-emulate"):
        tape = Recording(loop, technique, choose(technique))
        taken = seconds(lambda tape=tape: [tape.technique.machine.run(n) for n in range(1, STEPS)])  # type: ignore[misc]
        print(f"{technique}: {STEPS / taken:,.0f} single steps/s")
    traps = bare_scenario(folder / "traps", loop_of(b"\xfa\xfb", TRAPS // 2), limit=10**9)  # cli; sti
    taken, _ = play(traps, "trap-emulate")
    print(f"trap-emulate: {TRAPS / taken:,.0f} traps/s (at least 10,000)")
    for technique in ("native", "amd-v", "trap-emulate"):
        mixed = loop_of(b"\xe6\xe9" + b"\x40" * 97, SEEK_RUN_INSTRUCTIONS // 100)  # out E9h, al; 97 x inc eax
        tape = play(bare_scenario(folder / f"seek-{technique}", mixed, limit=10**9), technique)[1]
        length = tape.position
        places = [length * (i * 37 % 100) // 100 for i in range(1, 31)]
        times = [seconds(partial(tape.seek, place)) for place in places]
        worst, mean = 1000 * max(times), 1000 * sum(times) / len(times)
        print(f"{technique}: seek in {length:,} instructions: worst {worst:.0f} ms, mean {mean:.0f} ms (below 300)")
    scenario = find_scenario("rings-tour")
    for technique in ("native", "trap-emulate", "amd-v"):
        taken = seconds(lambda technique=technique: Session(scenario, technique).snapshot())  # type: ignore[misc]
        print(f"{technique}: session and first snapshot in {1000 * taken:.0f} ms")


if __name__ == "__main__":
    main()
