"""Time: sessions, seek, events, cost, comparison, and what a view shows."""
