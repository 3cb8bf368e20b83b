"""The wire: status table, replies, dialects. Pure: no I/O, no clock."""
