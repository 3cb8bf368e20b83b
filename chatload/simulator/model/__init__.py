"""The model of a chat service: pure, without a clock."""
