"""One package for each feature a user can name."""
