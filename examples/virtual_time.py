"""1000 chats in virtual time: no server, no sockets, and a quarter of an hour passes in a second.

    python examples/virtual_time.py

The customers behave as in a real run; the server is the simulator's model. One request or answer in a hundred is
lost, and the chats are refreshed so rarely that one lost refresh may cost a chat.
"""

from collections import Counter

from chatload import ChatService, NetworkModel, RefreshPolicy, SessionSettings, SimulatorConfig, VirtualSwarm

settings = SessionSettings(RefreshPolicy("fixed", timeout_s=45.0, interval_s=38.0), request_timeout_s=10.0)
service = ChatService(SimulatorConfig(flex_disconnect_timeout_s=45.0))
run = VirtualSwarm(settings, service, users=100, chats=1000, seed=1, network=NetworkModel(loss=0.01)).run()

print(f"{len(run.records)} chats in {run.ended_at:.0f} s of virtual time")
print("verdicts:", dict(Counter(record.verdict for record in run.records)))
print("the server's ledger:", dict(Counter(row["end_reason"] for row in run.ledger)))
