"""`chatload reconcile`: every verdict against the ledger of the server."""
