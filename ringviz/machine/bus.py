"""The port bus: which device answers at which I/O port, and how a wide access reaches a narrow device.

The rules are those of ISA. A device is as wide as its data lines (`access_bytes`). An access that is wider, that is
not aligned to its own size, or that runs past the device's last port is broken into smaller ones at ascending ports,
least significant byte first: `out dx, ax` at a byte-wide device is `out dx, al`, then AH to the next port. A port that
nobody claims floats: it reads as all ones and a write to it is lost.

Devices also act by themselves as device time passes, and request interrupts: the bus carries their request lines to the
interrupt controller, and the controller's output to whoever asks.
"""

# mypy: disable-error-code="type-abstract"
# The kinds of devices are protocols, and `_is` takes one as `isinstance` does.

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeGuard, TypeVar, runtime_checkable

State: TypeAlias = tuple[Any, ...]
"""What `save` gives: nested tuples of int, bool, bytes, str and None. Equal states mean equal futures, and `repr` of
equal states is the same text in every run."""

_Kind = TypeVar("_Kind")

OPEN_BUS_BYTE = 0xFF
"""What the pulled-up data lines give where no device answers."""

_WIDEST_ACCESS_BYTES = 4


class Device(Protocol):
    """One part behind ports of its own.

    Offsets count through `ports` in order: with `(range(0x20, 0x22), range(0xA0, 0xA2))`, port 0xA0 is offset 2. `now`
    is device time before the instruction that makes the access: see `devices.device_time`.
    """

    @property
    def name(self) -> str:
        """Short and unique on its bus, for traces and inspectors."""

    @property
    def ports(self) -> tuple[range, ...]:
        """The ports this device claims."""

    @property
    def access_bytes(self) -> int:
        """The widest access the device takes in one piece: 1, 2 or 4."""

    def read(self, offset: int, size: int, now: int) -> int:
        """Give `size` bytes as one little-endian number; reading may have side effects, as on hardware."""

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Take `size` bytes; `value` is below `256 ** size`."""

    def save(self) -> State:
        """Give a complete, immutable snapshot, what was printed included."""

    def restore(self, state: State) -> None:
        """Become what `save` gave."""


@runtime_checkable
class Prints(Protocol):
    """A device whose output a person reads."""

    @property
    def printed(self) -> bytes:
        """Everything the guest sent so far."""


@runtime_checkable
class EndsRun(Protocol):
    """A device through which the guest can end the run."""

    @property
    def exit_code(self) -> int | None:
        """The code the guest ended the run with; None while it has not."""


@runtime_checkable
class ResetsMachine(Protocol):
    """A device through which the guest can have the processor reset."""

    @property
    def has_reset(self) -> bool:
        """The guest has asked for that."""


@runtime_checkable
class Timed(Protocol):
    """A device that acts by itself as time passes. Whoever owns the bus stops at every `next_event`."""

    def next_event(self, now: int) -> int | None:
        """Give the device time, later than `now`, of its next own action; None while it waits for the guest.

        Only what the guest can notice counts: a request line that rises or falls, a status bit that changes. What can
        be computed when it is read, such as a counter's value, is no event.
        """

    def advance(self, now: int) -> None:
        """Do everything due by device time `now`, in order."""


@runtime_checkable
class RequestsInterrupts(Protocol):
    """A device with an interrupt request line."""

    @property
    def irq(self) -> int:
        """Number of the request line: 0 to 15."""

    def connect(self, drive: Callable[[bool], None]) -> None:
        """Take the wire: `drive(True)` raises the request line, `drive(False)` lowers it.

        Edges count, so a device whose line falls and rises at one moment drives it twice. `restore` drives nothing:
        the controller's own state holds the level of every line.
        """


@runtime_checkable
class MemoryMapped(Protocol):
    """A device with registers among the memory addresses; they are four bytes wide, and reading has no effect."""

    @property
    def name(self) -> str:
        """As any device."""

    @property
    def window(self) -> range:
        """Physical addresses of its registers: whole pages."""

    def read_memory(self, offset: int, size: int, now: int) -> int:
        """Give `size` bytes at an offset of the window."""

    def write_memory(self, offset: int, size: int, value: int, now: int) -> None:
        """Take `size` bytes at an offset of the window."""


@runtime_checkable
class InterruptController(Protocol):
    """The device that request lines lead to."""

    @property
    def is_requesting(self) -> bool:
        """Its INT output, to the CPU's INTR input."""

    def set_line(self, irq: int, is_high: bool) -> None:
        """Drive a request line."""

    def acknowledge(self) -> int:
        """Answer the CPU's interrupt acknowledge with the vector to deliver."""

    def would_request(self, irq: int) -> bool:
        """Tell whether a rising edge of this line now would make `is_requesting` true, by mask and priority."""

    def peek(self) -> int:
        """Give the vector that `acknowledge` would give now; nothing changes by the question."""


_is_kind: dict[tuple[type, type], bool] = {}


def _is(device: object, kind: type[_Kind]) -> TypeGuard[_Kind]:
    """Tell whether a device is of a kind, once for all of its class: a protocol is compared name by name each time."""
    key = type(device), kind
    known = _is_kind.get(key)
    if known is None:
        known = _is_kind[key] = isinstance(device, kind)
    return known


class _Claim(NamedTuple):
    """One port of a device."""

    device: Device
    offset: int

    def read(self, size: int, now: int) -> int:
        return self.device.read(self.offset, size, now)

    def write(self, size: int, value: int, now: int) -> None:
        self.device.write(self.offset, size, value, now)


class _Piece(NamedTuple):
    """A part of an access that reaches one device, or nobody, at once."""

    claim: _Claim | None
    shift_bits: int
    size: int

    @property
    def mask(self) -> int:
        return (1 << 8 * self.size) - 1


class Bus:
    """All devices of one machine, reached by port.

    Raises:
        ValueError: two devices claim one port or bear one name.
    """

    def __init__(self, devices: Iterable[Device]) -> None:
        self._devices: dict[str, Device] = {}
        self._claims: dict[int, _Claim] = {}
        for device in devices:
            if device.name in self._devices:
                raise ValueError(f"two devices are named {device.name!r}; names must differ")
            self._devices[device.name] = device
            self._claim_ports(device)
        self._printers = {name: device for name, device in self._devices.items() if _is(device, Prints)}
        self._enders = [device for device in self._devices.values() if _is(device, EndsRun)]
        self._resetters = [device for device in self._devices.values() if _is(device, ResetsMachine)]
        self._timed = [device for device in self._devices.values() if _is(device, Timed)]
        self._timed_lines = [(d, d.irq if _is(d, RequestsInterrupts) else None) for d in self._timed]
        self._controller = next((d for d in self._devices.values() if _is(d, InterruptController)), None)
        self._mapped = [device for device in self._devices.values() if _is(device, MemoryMapped)]
        self._has_risen = False
        self._next: int | None = None
        """The last answer of `next_event`, which holds until a device is reached or acts."""
        self._is_next_known = False
        self.settled_at = 0
        """Device time up to which every device has done what was due."""
        for device in self._devices.values():
            if _is(device, RequestsInterrupts):
                device.connect(self._wire(device.irq))

    def read(self, port: int, size: int, now: int) -> int:
        """Read `size` (1, 2 or 4) bytes at `port`; any port is fine."""
        value = 0
        self._settle(now)
        for piece in self._pieces(port, size):
            part = OPEN_BUS_BYTE if piece.claim is None else piece.claim.read(piece.size, now)
            value |= (part & piece.mask) << piece.shift_bits
        return value

    def write(self, port: int, size: int, value: int, now: int) -> None:
        """Write the low `size` (1, 2 or 4) bytes of `value` at `port`; any port and value is fine."""
        self._settle(now)
        for piece in self._pieces(port, size):
            if piece.claim is not None:
                piece.claim.write(piece.size, value >> piece.shift_bits & piece.mask, now)

    def memory_device(self, address: int) -> MemoryMapped | None:
        """Give the device that has registers at a physical address, or None."""
        return next((device for device in self._mapped if address in device.window), None)

    def read_memory(self, address: int, size: int, now: int) -> int:
        """Read `size` bytes of a device's registers; ones where no device has any."""
        self._settle(now)
        device = self.memory_device(address)
        if device is None:
            return (1 << 8 * size) - 1
        return device.read_memory(address - device.window.start, size, now) & (1 << 8 * size) - 1

    def write_memory(self, address: int, size: int, value: int, now: int) -> None:
        """Write `size` bytes of a device's registers; lost where no device has any."""
        self._settle(now)
        device = self.memory_device(address)
        if device is not None:
            device.write_memory(address - device.window.start, size, value, now)

    def device(self, name: str) -> Device:
        """Give a device by its name, which must be on this bus."""
        return self._devices[name]

    def device_at(self, port: int) -> str | None:
        """Give the name of the device that claims `port`, or None."""
        claim = self._claims.get(port)
        return claim.device.name if claim else None

    def printed(self, name: str) -> str:
        """Give what the guest printed through one device, or "" if that device prints nothing or does not exist."""
        printer = self._printers.get(name)
        return _as_text(printer.printed) if printer else ""

    @property
    def console(self) -> str:
        """What the guest printed: each printing device's text whole, in the order in which the devices were given."""
        return "".join(_as_text(printer.printed) for printer in self._printers.values())

    @property
    def exit_code(self) -> int | None:
        """The code with which the guest ended the run; None while it has not."""
        return next((ender.exit_code for ender in self._enders if ender.exit_code is not None), None)

    @property
    def has_reset(self) -> bool:
        """The guest has asked for the processor to be reset."""
        return any(device.has_reset for device in self._resetters)

    def find(self, kind: type[_Kind]) -> _Kind | None:
        """Give the device of a class, for what is not done by ports: to type at a keyboard, to look at a screen."""
        self._is_next_known = False  # it may now act at another time
        return next((device for device in self._devices.values() if isinstance(device, kind)), None)

    def device_on(self, irq: int) -> str | None:
        """Give the name of the device whose request line this is, or None."""
        lines = ((name, device) for name, device in self._devices.items() if _is(device, RequestsInterrupts))
        return next((name for name, device in lines if device.irq == irq), None)

    # ---- time and interrupts -----------------------------------------------------------------------------------------

    def next_event(self) -> int | None:
        """Give the device time at which some device next does what the CPU must hear of; None if none will.

        What a device does on a request line that is masked, or waits behind a more urgent one, is caught up with when
        the guest next reaches for a port: until then nobody can notice it.
        """
        if not self._is_next_known:
            times = (device.next_event(self.settled_at) for device, irq in self._timed_lines if self._is_heard(irq))
            self._next = min((at for at in times if at is not None), default=None)
            self._is_next_known = True
        return self._next

    def next_wake(self, now: int) -> int | None:
        """Give the time of the next action of a device whose request would reach the CPU as things are; None if none.

        While the CPU is halted nothing else changes, so without one it sleeps for ever.
        """
        if self._controller is None:
            return None
        self._settle(now)
        return self.next_event()

    def advance(self, now: int) -> bool:
        """Let devices act if that is due by `now`; tell whether a request line has risen."""
        due = self.next_event()
        if due is None or now < due:
            return False
        self._has_risen, had_request = False, self.is_requesting
        self._settle(now)
        return self.is_requesting and (self._has_risen or not had_request)

    def _is_heard(self, irq: int | None) -> bool:
        """A request on this line would reach the CPU as things are; without a line, what a device does is seen."""
        return irq is None or self._controller is None or self._controller.would_request(irq)

    def _settle(self, now: int) -> None:
        """Let every device do what is due by `now`; afterwards anything may be different."""
        for device in self._timed:
            device.advance(now)
        self.settled_at = now
        self._is_next_known = False

    @property
    def is_requesting(self) -> bool:
        """INTR: the interrupt controller has a request for the CPU."""
        return self._controller is not None and self._controller.is_requesting

    def acknowledge(self) -> int:
        """Run the interrupt acknowledge cycle and give the vector.

        Raises:
            ValueError: there is no interrupt controller, so nothing can have been requested.
        """
        if self._controller is None:
            raise ValueError("no device of this bus controls interrupts")
        self._is_next_known = False
        return self._controller.acknowledge()

    @property
    def pending_vector(self) -> int:
        """The vector that `acknowledge` would give now; nothing changes by the question."""
        return 0 if self._controller is None else self._controller.peek()

    def _wire(self, irq: int) -> Callable[[bool], None]:
        """Give the wire of one request line."""

        def drive(is_high: bool) -> None:
            if self._controller is not None:
                self._controller.set_line(irq, is_high)
                self._has_risen = self._has_risen or is_high

        return drive

    # ---- saving ------------------------------------------------------------------------------------------------------

    def save(self) -> State:
        """Give every device's name and snapshot, in the order of the devices."""
        return tuple((name, device.save()) for name, device in self._devices.items())

    def restore(self, state: State) -> None:
        """Bring every device back to what `save` gave.

        Raises:
            ValueError: the state is of a bus with other devices.
        """
        names = tuple(name for name, _ in state)
        if names != tuple(self._devices):
            raise ValueError(f"state is of devices {names}; this bus has {tuple(self._devices)}")
        self._is_next_known = False
        for name, device_state in state:
            self._devices[name].restore(device_state)

    def _claim_ports(self, device: Device) -> None:
        every_port = (port for ports in device.ports for port in ports)
        for offset, port in enumerate(every_port):
            if port in self._claims:
                raise ValueError(f"port {port:#x}: claimed by {self._claims[port].device.name} and by {device.name}")
            self._claims[port] = _Claim(device, offset)

    def _pieces(self, port: int, size: int) -> Iterator[_Piece]:
        done = 0
        while done < size:
            claim = self._claims.get(port + done)
            piece_size = 1 if claim is None else self._reach(claim, port + done, size - done)
            yield _Piece(claim, 8 * done, piece_size)
            done += piece_size

    def _reach(self, claim: _Claim, port: int, wanted: int) -> int:
        """How many bytes at `port` the device takes in one piece: a power of two, aligned, inside one of its ranges."""
        size = _WIDEST_ACCESS_BYTES
        while size > 1:
            last = size - 1
            fits = size <= wanted and size <= claim.device.access_bytes and port % size == 0
            if fits and self._claims.get(port + last) == _Claim(claim.device, claim.offset + last):
                return size
            size //= 2
        return 1


def _as_text(printed: bytes) -> str:
    """Latin-1: every byte is a character, so nothing is lost and no byte sequence is an error."""
    return printed.decode("latin-1")
