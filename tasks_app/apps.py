from typing import Any

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_out


class TasksConfig(AppConfig):
    name = "tasks_app"
    verbose_name = "Live stock platform"

    def ready(self) -> None:
        user_logged_out.connect(_close_sockets, dispatch_uid="close-sockets")


def _close_sockets(sender: Any, request: Any, user: Any, **_: Any) -> None:
    from tasks_app import results

    if request.session.session_key:
        results.announce_logout(request.session.session_key)
