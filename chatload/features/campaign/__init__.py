"""`chatload campaign`: from a demand to a proof, one command after another."""
