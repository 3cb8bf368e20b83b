"""A chat server in a box: a pure model with an injected clock, and a thin HTTP shell around it."""
