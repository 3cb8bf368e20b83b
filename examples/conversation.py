"""A conversation with a bot: `next_message` says what the customer writes, `on_event` reads what it is answered.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/conversation.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5

The script still decides when a customer writes: after an answer, and time to think and to type.
"""

from chatload import ChatCustomer, ChatUser, CustomerScript, Distribution, Event

QUESTIONS = ("Where is my order?", "It is number 4711.", "Thank you!")


class Customer(ChatUser):
    """Asks its questions in turn, and leaves after the last one."""

    script = CustomerScript(think=Distribution("fixed", 0.1), typing=Distribution("fixed", 0.1))

    def before_chat(self, customer: ChatCustomer) -> None:
        """Keep what the customer knows in `customer.own`: a user may hold several chats."""
        customer.own.left = list(QUESTIONS)
        customer.own.answers = []

    def next_message(self, customer: ChatCustomer) -> str | None:
        """Return the next text, or None if there is nothing more to say."""
        if not customer.own.left:
            customer.leave()
            return None
        return customer.own.left.pop(0)

    def on_event(self, customer: ChatCustomer, event: Event) -> None:
        """Called for each event of the chat: a message, somebody who joined or left."""
        if event.kind == "Message" and event.who == "Agent":
            customer.own.answers.append(event.text)
