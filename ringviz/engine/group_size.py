"""How many techniques stand side by side: two at least, and no more than a screen can hold."""

FEWEST, MOST = 2, 4
