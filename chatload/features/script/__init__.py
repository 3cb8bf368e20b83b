"""`chatload script`: a customer script from a recorded conversation."""
