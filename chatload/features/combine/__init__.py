"""`chatload combine`: judges repeated runs together, as often as one likes."""
