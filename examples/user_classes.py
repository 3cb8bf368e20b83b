"""Two kinds of customers in one run, each with its own client, service, script and refresh.

    chatload simulator --flex-disconnect-timeout 5 --service default,vip
    locust -f examples/user_classes.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5 --processes 2 --threshold 'App: failed.count == 0'

Three of four customers use the vendor's widget; one of four comes from an app that polls as late as is safe. The report
has every figure also by user class, and a threshold may be about one class. `--class-picker` chooses among the classes
in the web UI.
"""

from locust import constant

from chatload import ChatUser, CustomerScript, Distribution


class Widget(ChatUser):
    """A customer in a browser."""

    weight = 3
    persona = "widget"
    chat_length = "2s"


class App(ChatUser):
    """A customer of the app: another service, other habits, and a pause between two chats."""

    weight = 1
    service = "vip"
    refresh_policy = "deadline"
    script = CustomerScript(chat_length=Distribution("uniform", 1, 2), messages=Distribution("fixed", 1))
    wait_time = constant(1)
