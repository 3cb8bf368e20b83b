"""Customers that need a token: `before_chat` fetches it, `headers` sends it with each request.

    chatload simulator --flex-disconnect-timeout 5 --token-life 2
    locust -f examples/login_token.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5 --processes 2 --chat-length 2

The chats of a process share a token until it expires. The report counts the requests for it apart from those of chats.
"""

from chatload import ChatCustomer, ChatUser


class Customer(ChatUser):
    """A customer who is logged in."""

    def before_chat(self, customer: ChatCustomer) -> None:
        """Have a token before the chat begins, so that RequestChat is not late."""
        self._token(customer)

    def headers(self, customer: ChatCustomer) -> dict[str, str]:
        """Called for each request: a chat may outlive its token."""
        return {"Authorization": f"Bearer {self._token(customer)}"}

    def _token(self, customer: ChatCustomer) -> str:
        answer = customer.fetch(
            "POST",
            "/simulator/token",  # below --host; or https://... of another host
            name="token",
            form={"grant_type": "client_credentials"},
            keep_s=lambda answer: answer.json()["expires_in"] - 0.5,
        )
        return answer.json()["access_token"]
