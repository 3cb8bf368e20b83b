"""The discrete-event driver: sessions against the simulator's model in virtual time, no sockets."""
