"""Event channels: how a guest under Xen is told that something happened, instead of by interrupts.

There is one domain, so both ends of an interdomain channel are its own. Of the virtual interrupts the timer's is raised
(`clock`); the others have no source here. Source: Xen public header event_channel.h; `event_channel.c` of Xen 3.0 for
the checks.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ringviz.facts.hypercalls import DOMID_SELF, EVENT_CHANNELS, VIRQS, Error, EventChannel
from ringviz.machine.linear import LinearMemory
from ringviz.vmm.paravirt import guest_access
from ringviz.vmm.paravirt.domain import Channel, Domain
from ringviz.vmm.paravirt.guest_access import Refused
from ringviz.vmm.paravirt.shared_page import SharedPage

_STATUS = MappingProxyType({"unbound": 1, "interdomain": 2, "virq": 4, "ipi": 5})
_OWN_DOMAIN = 1
"""Number of the one domain; DOMID_SELF means it as well."""


class EventChannels:
    """Answers `event_channel_op`."""

    def __init__(self, domain: Domain, shared: SharedPage, memory: LinearMemory) -> None:
        self._domain = domain
        self._shared = shared
        self._memory = memory

    def perform(self, command: int, argument: int) -> str:
        """Carry out one command; say what was done.

        Raises:
            Refused: with Xen's error number.
        """
        routine = _ROUTINES.get(command)
        if routine is None:
            raise Refused(Error.ENOSYS, f"event_channel_op has no command {command}")
        return routine(self, argument)

    def _words(self, argument: int, count: int) -> tuple[int, ...]:
        return guest_access.read_words(self._memory, argument, count)

    def _domains(self, argument: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}H", guest_access.read(self._memory, argument, 2 * count))

    def _open(self, channel: Channel, answer_at: int) -> int:
        """Take the first free port for a channel, and tell the guest which."""
        port = next((port for port in range(1, EVENT_CHANNELS) if port not in self._domain.channels), None)
        if port is None:
            raise Refused(Error.ENOSPC, "all event channels are in use")
        guest_access.write_word(self._memory, answer_at, port)
        self._domain.channels[port] = channel
        return port

    def _channel(self, port: int) -> Channel:
        channel = self._domain.channels.get(port)
        if channel is None:
            raise Refused(Error.EINVAL, f"event channel {port} is closed")
        return channel

    def alloc_unbound(self, argument: int) -> str:
        """A channel that waits for its other end."""
        domain, _remote = self._domains(argument, 2)
        if domain != DOMID_SELF:
            raise Refused(Error.EPERM, "channels of other domains are not its own")
        port = self._open(Channel("unbound"), argument + 4)
        return f"event channel {port} waits for its other end"

    def bind_interdomain(self, argument: int) -> str:
        """The other end of a channel that waits; here both ends are the guest's."""
        (remote,) = self._domains(argument, 1)
        (remote_port,) = self._words(argument + 4, 1)
        if remote not in (DOMID_SELF, _OWN_DOMAIN):
            raise Refused(Error.ESRCH, f"there is no domain {remote}")
        if self._domain.channels.get(remote_port) != Channel("unbound"):
            raise Refused(Error.EINVAL, f"event channel {remote_port} does not wait for anyone")
        port = self._open(Channel("interdomain", remote_port), argument + 8)
        self._domain.channels[remote_port] = Channel("interdomain", port)
        return f"event channels {port} and {remote_port} are the ends of one"

    def bind_virq(self, argument: int) -> str:
        """A channel for a virtual interrupt."""
        virq, vcpu = self._words(argument, 2)
        if virq >= VIRQS or vcpu:
            raise Refused(Error.EINVAL, f"there is no virtual interrupt {virq} of CPU {vcpu}")
        if Channel("virq", virq) in self._domain.channels.values():
            raise Refused(Error.EEXIST, f"virtual interrupt {virq} has its channel already")
        port = self._open(Channel("virq", virq), argument + 8)
        return f"event channel {port} for virtual interrupt {virq}"

    def bind_ipi(self, argument: int) -> str:
        """A channel by which a virtual CPU interrupts another, or itself."""
        (vcpu,) = self._words(argument, 1)
        if vcpu:
            raise Refused(Error.EINVAL, f"there is no virtual CPU {vcpu}")
        return f"event channel {self._open(Channel('ipi'), argument + 4)} from the guest to itself"

    def bind_pirq(self, argument: int) -> str:
        """A channel for a real interrupt: not for this guest."""
        del argument
        raise Refused(Error.EPERM, "the guest has no hardware")

    def close(self, argument: int) -> str:
        """End a channel; the other end waits again."""
        (port,) = self._words(argument, 1)
        channel = self._channel(port)
        del self._domain.channels[port]
        self._shared.clear_pending(port)
        if channel.kind == "interdomain" and channel.peer in self._domain.channels:
            self._domain.channels[channel.peer] = Channel("unbound")
        return f"event channel {port} closed"

    def send(self, argument: int) -> str:
        """Let an event happen at the other end."""
        (port,) = self._words(argument, 1)
        channel = self._channel(port)
        match channel.kind:
            case "interdomain":
                self._shared.set_pending(channel.peer)
                return f"event on channel {channel.peer}"
            case "ipi":
                self._shared.set_pending(port)
                return f"event on channel {port}"
            case "unbound":
                return f"channel {port} has no other end; the event is lost"
            case _:
                raise Refused(Error.EINVAL, f"nothing can be sent on channel {port}")

    def status(self, argument: int) -> str:
        """Tell what a channel is."""
        (domain,) = self._domains(argument, 1)
        (port,) = self._words(argument + 4, 1)
        if domain not in (DOMID_SELF, _OWN_DOMAIN):
            raise Refused(Error.ESRCH, f"there is no domain {domain}")
        if port >= EVENT_CHANNELS:
            raise Refused(Error.EINVAL, f"there is no event channel {port}")
        channel = self._domain.channels.get(port, Channel("closed"))
        own = {"unbound": (_OWN_DOMAIN, 0), "interdomain": (_OWN_DOMAIN, channel.peer), "virq": (channel.peer, 0)}
        answer = (_STATUS.get(channel.kind, 0), 0, *own.get(channel.kind, (0, 0)))
        guest_access.write(self._memory, argument + 8, struct.pack("<4I", *answer))
        return f"event channel {port} is {channel.kind}"

    def bind_vcpu(self, argument: int) -> str:
        """Choose which virtual CPU hears of a channel; there is one."""
        port, vcpu = self._words(argument, 2)
        channel = self._channel(port)
        if vcpu or channel.kind in ("ipi", "virq"):
            raise Refused(Error.EINVAL, f"channel {port} cannot be moved to CPU {vcpu}")
        return f"event channel {port} is heard by CPU 0"

    def unmask(self, argument: int) -> str:
        """Take a channel's mask off; what waited is announced."""
        (port,) = self._words(argument, 1)
        if port >= EVENT_CHANNELS:
            raise Refused(Error.EINVAL, f"there is no event channel {port}")
        self._shared.unmask(port)
        return f"event channel {port} unmasked"


_ROUTINES: Mapping[int, Callable[[EventChannels, int], str]] = MappingProxyType(
    {
        EventChannel.BIND_INTERDOMAIN: EventChannels.bind_interdomain,
        EventChannel.BIND_VIRQ: EventChannels.bind_virq,
        EventChannel.BIND_PIRQ: EventChannels.bind_pirq,
        EventChannel.CLOSE: EventChannels.close,
        EventChannel.SEND: EventChannels.send,
        EventChannel.STATUS: EventChannels.status,
        EventChannel.ALLOC_UNBOUND: EventChannels.alloc_unbound,
        EventChannel.BIND_IPI: EventChannels.bind_ipi,
        EventChannel.BIND_VCPU: EventChannels.bind_vcpu,
        EventChannel.UNMASK: EventChannels.unmask,
    }
)
