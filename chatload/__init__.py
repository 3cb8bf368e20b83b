"""chatload: load and soak tests for polling chat sessions, with proof of what became of each one.

The names in `__all__` are the public Python interface; docs/python.md describes them with examples. Everything else
is private and may change. `import chatload` loads none of them: each is imported on first use, so that the command
line starts fast and nothing is installed into Locust before a locustfile asks for it.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

#: Public name -> the module that defines it. `__init__.pyi` repeats the names for type checkers and editors.
_MODULES = {
    # Locustfiles.
    "ChatUser": "chatload.swarm.user",
    "ArrivalUser": "chatload.swarm.user",
    "CapacityShape": "chatload.features.capacity.load",
    "SoakUser": "chatload.swarm.user",
    "SweepUser": "chatload.swarm.user",
    # Customers: what they do, who they are, and what hooks are given.
    "ChatCustomer": "chatload.chat.customer",
    "CustomerScript": "chatload.chat.script",
    "Distribution": "chatload.chat.script",
    "Event": "chatload.protocol.reply",
    "Feeder": "chatload.chat.feeder",
    "FetchAnswer": "chatload.chat.customer",
    "FetchError": "chatload.chat.customer",
    # The simulator as a test server.
    "Simulator": "chatload.simulator.command",
    # Chats in virtual time.
    "ChatService": "chatload.simulator.model.service",
    "Fault": "chatload.simulator.model.faults",
    "FaultPlan": "chatload.simulator.model.faults",
    "NetworkModel": "chatload.virtual.network",
    "RefreshPolicy": "chatload.chat.policy",
    "SessionSettings": "chatload.chat.settings",
    "SimulatorConfig": "chatload.simulator.model.config",
    "Stalls": "chatload.virtual.network",
    "VirtualSwarm": "chatload.virtual.driver",
    # A finished run.
    "ChatloadError": "chatload.errors",
    "RunReader": "chatload.run.reader",
}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'chatload' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
