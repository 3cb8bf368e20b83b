"""The discrete-event driver: runs sessions against the model of the simulator in virtual time, without sockets."""
