"""A host that looks after itself: rules about its machines, orders for set times, and what has come of them."""
