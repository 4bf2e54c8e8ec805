"""AMD-V as the CPU has it: its registers, VMRUN and #VMEXIT, and what leaves guest mode.

Source: AMD APM Vol. 2, "Secure Virtual Machine".
"""
