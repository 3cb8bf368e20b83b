"""Customers from a file: names, subjects and user data, a row for each chat. No Python is needed.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/customers.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5 --script examples/customers.toml

The script names the file and says in which order its rows are used, and what happens at its end.
"""

from chatload import ChatUser


class Customer(ChatUser):
    """Who it is, the file of --script says."""
