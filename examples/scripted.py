"""Customers with a script: how long chats last, how often customers write, how fast they type.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/scripted.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5 --script examples/scripted.toml

The script is a TOML file, examples/scripted.toml. `chatload script from-har` writes one from browser recordings.
"""

from chatload import ChatUser


class Customer(ChatUser):
    """Does what the file of --script says."""
