"""`chatload demo`: a chat server with faults, real Locust users on it, and the check against its ledger."""
