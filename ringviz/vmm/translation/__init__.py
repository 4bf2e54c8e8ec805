"""Binary translation: the guest's kernel never runs; what runs is a translation of it that the VMM wrote."""
