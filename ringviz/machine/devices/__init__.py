"""The devices of the machine a guest sees, each behind ports of its own."""

from collections.abc import Sequence

from ringviz.machine.bus import Device
from ringviz.machine.devices.cmos import Cmos
from ringviz.machine.devices.debug_console import DebugConsole
from ringviz.machine.devices.exit_port import ExitPort
from ringviz.machine.devices.ide import Ide
from ringviz.machine.devices.keyboard import Keyboard
from ringviz.machine.devices.pic import PicPair
from ringviz.machine.devices.pit import Pit
from ringviz.machine.devices.uart import Uart
from ringviz.machine.devices.vga import Vga

__all__ = ["Cmos", "DebugConsole", "ExitPort", "Ide", "Keyboard", "PicPair", "Pit", "Uart", "Vga", "pc_devices"]


def pc_devices(memory_bytes: int, disks: Sequence[bytes | None] = ()) -> tuple[Device, ...]:
    """Every device of a PC with so much RAM and these disks, at power-on; the console comes first."""
    return (Uart(), DebugConsole(), PicPair(), Pit(), Keyboard(), Vga(), Cmos(memory_bytes), Ide(disks), ExitPort())
