"""Cylinders, heads and sectors: the translation between them and block numbers.

No disk has been laid out like this for decades; the numbers are an agreement between drive and guest, which INITIALIZE
DEVICE PARAMETERS may change.

Source: QEMU for the usual 16 heads and 63 sectors, and their most cylinders; how a drive smaller than one such cylinder
is divided is our choice.
"""

from typing import NamedTuple

_USUAL_HEADS = 16
_USUAL_SECTORS = 63
_MOST_DEFAULT_CYLINDERS = 16_383
_MOST_CYLINDERS = 0xFFFF


class Geometry(NamedTuple):
    """One translation. Cylinders and heads count from 0, sectors of a track from 1."""

    cylinders: int
    heads: int
    sectors: int

    @property
    def capacity(self) -> int:
        """Sectors that it reaches; the disk may have more."""
        return self.cylinders * self.heads * self.sectors

    def block_of(self, cylinder: int, head: int, sector: int) -> int | None:
        """Give the block number of an address, or None if there is no such place."""
        if cylinder >= self.cylinders or head >= self.heads or not 1 <= sector <= self.sectors:
            return None
        return (cylinder * self.heads + head) * self.sectors + sector - 1

    def address_of(self, block: int) -> tuple[int, int, int]:
        """Give cylinder, head and sector of a block number."""
        track, sector = divmod(block, self.sectors)
        cylinder, head = divmod(track, self.heads)
        return cylinder, head, sector + 1


def default_geometry(sectors: int) -> Geometry:
    """Give the translation that a drive of so many sectors has at power-on; it never reaches beyond the drive."""
    per_cylinder = _USUAL_HEADS * _USUAL_SECTORS
    if sectors >= per_cylinder:
        return Geometry(min(sectors // per_cylinder, _MOST_DEFAULT_CYLINDERS), _USUAL_HEADS, _USUAL_SECTORS)
    per_track = min(sectors, _USUAL_SECTORS)
    return Geometry(1, sectors // per_track, per_track)


def asked_geometry(sectors: int, heads: int, per_track: int) -> Geometry | None:
    """Give the translation a guest asks for, with as many cylinders as the drive fills; None if it fills none."""
    cylinders = sectors // (heads * per_track) if per_track else 0
    return Geometry(min(cylinders, _MOST_CYLINDERS), heads, per_track) if cylinders else None
