"""A measured run fitted, reproduced, and carried to loads and intervals never run."""
