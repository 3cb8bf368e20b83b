"""A pause between two chats of a customer, with Locust's `wait_time`.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/think_time.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5 --chat-length 1

Without `wait_time` a user opens the next chat at once. The time to think inside a chat is `think` of the script.
"""

from locust import between

from chatload import ChatUser


class Customer(ChatUser):
    """Comes back between half a second and two seconds after its last chat."""

    wait_time = between(0.5, 2)
