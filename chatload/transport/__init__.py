"""HTTP clients behind one small interface."""
