"""`chatload plan`: how many servers a demand needs."""
