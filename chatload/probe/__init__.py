"""The probe: measures a server's effective flex-disconnect-timeout from outside. Sans-IO, as a chat is."""
