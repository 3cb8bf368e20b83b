"""`chatload init`: the files of a load test of one's own, from templates."""
