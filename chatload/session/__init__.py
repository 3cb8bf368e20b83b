"""One chat as a sans-IO value: life cycle, refresh clock, customer script, verdict, books. Pure."""
