"""The devices of the machine a guest sees, each behind ports of its own."""

from collections.abc import Sequence

from ringviz.machine.bus import Device
from ringviz.machine.devices.balloon import Balloon, Order
from ringviz.machine.devices.cmos import Cmos
from ringviz.machine.devices.debug_console import DebugConsole
from ringviz.machine.devices.exit_port import ExitPort
from ringviz.machine.devices.ide import Ide
from ringviz.machine.devices.io_apic import IoApic
from ringviz.machine.devices.keyboard import Keyboard
from ringviz.machine.devices.local_apic import LocalApic
from ringviz.machine.devices.pic import PicPair
from ringviz.machine.devices.pit import Pit
from ringviz.machine.devices.uart import Uart
from ringviz.machine.devices.vga import Vga

__all__ = [
    "Balloon",
    "Cmos",
    "DebugConsole",
    "ExitPort",
    "Ide",
    "IoApic",
    "Keyboard",
    "LocalApic",
    "PicPair",
    "Pit",
    "Uart",
    "Vga",
    "pc_devices",
]


def pc_devices(
    memory_bytes: int,
    disks: Sequence[bytes | None] = (),
    console_input: bytes = b"",
    keys: str = "",
    balloon: Sequence[Order] | None = None,
) -> tuple[Device, ...]:
    """Give every device of a PC at power-on; the console comes first, the exit port last.

    Args:
        memory_bytes: size of RAM.
        disks: images of the two disks; None or nothing where there is none.
        console_input: what somebody sends from the terminal at the UART, as soon as the guest uses it.
        keys: what somebody types at the keyboard, from `keyboard.FIRST_KEY_AT` on.
        balloon: what is asked of the guest's balloon driver, and when; None for a machine without a balloon.

    Raises:
        ValueError: there is no key for a character of `keys`.
    """
    uart, keyboard = Uart(), Keyboard()
    uart.feed(console_input)
    keyboard.type(keys)
    pic, io_apic = PicPair(), IoApic()
    controllers = (LocalApic(pic, io_apic), io_apic, pic)
    machine = (uart, DebugConsole(), *controllers, Pit(), keyboard, Vga(), Cmos(memory_bytes), Ide(disks))
    balloons = () if balloon is None else (Balloon(memory_bytes, balloon),)
    return (*machine, *balloons, ExitPort())
