"""Virtual hard disks as files on the host: raw rows of sectors, and Microsoft's VHD in its three kinds."""

from ringviz.guest.disks.differences import Parent
from ringviz.guest.disks.opening import file_chain, first_sector, is_vhd, open_disk
from ringviz.guest.disks.virtual_disk import VirtualDisk

__all__ = ["Parent", "VirtualDisk", "file_chain", "first_sector", "is_vhd", "open_disk"]
