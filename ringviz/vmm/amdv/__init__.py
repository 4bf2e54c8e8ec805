"""AMD-V: the VMM in host mode, the guest in guest mode under the CPU's own VMRUN and #VMEXIT."""
