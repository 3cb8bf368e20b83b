"""Each row of a file is used once, however many processes there are. The run ends with the last row.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/unique_rows.py --host http://127.0.0.1:8080 --headless -u 4 -r 4 -t 30s \
           --flex-disconnect-timeout 5 --processes 2

Use it for logins or vouchers that a server accepts only once.
"""

from chatload import ChatUser, CustomerScript, Distribution, Feeder


class Customer(ChatUser):
    """A customer of the file."""

    script = CustomerScript(
        chat_length=Distribution("fixed", 0.5),
        nickname="{name}",
        user_data={"CustomerId": "{id}"},
        feeder=Feeder("examples/customers.csv", order="unique", at_end="stop"),
    )
