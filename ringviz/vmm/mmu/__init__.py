"""Memory virtualization that several techniques share: shadow page tables under the guest's own."""
