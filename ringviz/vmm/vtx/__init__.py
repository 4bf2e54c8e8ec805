"""Intel VT-x: the VMM in VMX root operation, the guest in VMX non-root operation under a VMCS.

The emulated CPU has no VT-x. What VT-x decides is modelled here, bit for bit as the manual has it, on the same CPU that
runs every other technique: what a VMCS is, what a VM entry checks, and which of the CPU's stops are VM exits.
"""
