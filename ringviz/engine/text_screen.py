"""The guest's text screen at this moment, as a view shows it."""

from ringviz.engine.view import TextScreen
from ringviz.facts.techniques import TECHNIQUES
from ringviz.machine.devices.screen import TEXT_ADDRESS, TEXT_BYTES, read_screen
from ringviz.machine.devices.vga import Vga
from ringviz.vmm.technique import Technique

_BLANK = b"\x00\x20\xff"
"""The characters that look like nothing."""


def text_screen(technique: Technique) -> TextScreen | None:
    """Give what stands on the guest's screen; None if nothing does, or if the guest has no such screen."""
    # A recompiled kernel has no VGA: memory at B8000h is its memory like any other.
    if TECHNIQUES[technique.id].alignment == "marker":
        return None
    memory = technique.machine.ram.read(technique.guest_base + TEXT_ADDRESS, TEXT_BYTES)
    vga = technique.machine.bus.find(Vga) if memory[::2].strip(_BLANK) else None
    if vga is None:
        return None
    screen = read_screen(memory, vga.text_mode)
    return TextScreen(screen.rows, screen.cursor) if screen.text.strip() else None
