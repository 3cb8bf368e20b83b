"""`chatload tune`: which refresh interval to choose."""
