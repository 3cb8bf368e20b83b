"""What this machine and the way to the host are good for: facts, and what is to be said of them."""
