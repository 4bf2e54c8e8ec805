"""Paravirtualization as Xen did it on 32-bit x86: the guest's kernel knows where it is, and asks instead of trying."""
