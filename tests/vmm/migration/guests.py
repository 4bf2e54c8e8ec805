"""A guest that writes to pages, computes on the CPU and the FPU, and prints, all of it to measure."""

from pathlib import Path

from ringviz.guest import Scenario
from tests.vmm.guests import make_scenario

LOAD = 0x8000
PAGES_AT = 0x2_0000
LIMIT = 2_000_000


def writer(folder: Path, sweeps: int, pages: int, work: int) -> Scenario:
    """Write to so many pages in each sweep, with so many turns of an empty loop before each, and print a byte then."""
    code = b"".join((
        b"\xdb\xe3\xd9\xee",  # fninit; fldz
        b"\xbd" + sweeps.to_bytes(4, "little"),  # mov ebp, sweeps
        b"\xbf" + PAGES_AT.to_bytes(4, "little"),  # mov edi, pages
        b"\xb9" + pages.to_bytes(4, "little"),  # mov ecx, pages
        b"\xba" + work.to_bytes(4, "little"),  # mov edx, work
        b"\x4a\x75\xfd",  # dec edx; jnz to it
        b"\x69\xc0" + (0x19660D).to_bytes(4, "little"),  # imul eax, eax
        b"\x05" + (0x3C6EF35F).to_bytes(4, "little"),  # add eax
        b"\x01\x07",  # add [edi], eax
        b"\x81\xc7" + (4096).to_bytes(4, "little"),  # add edi, 4096
        b"\xd9\xe8\xde\xc1",  # fld1; faddp
        b"\x49\x75\xde",  # dec ecx; jnz to mov edx
        b"\xe6\xe9",  # out 0xE9, al
        b"\x4d\x75\xcf",  # dec ebp; jnz to mov edi
        b"\x31\xc0\xe6\xf4\xf4",  # xor eax, eax; out 0xF4, al; hlt
    ))  # fmt: skip
    return make_scenario(folder, code, LOAD, entry=LOAD, limit=LIMIT, memory_mib=1)
