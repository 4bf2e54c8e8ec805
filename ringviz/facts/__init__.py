"""What the manuals say, as tables; standard library only."""
