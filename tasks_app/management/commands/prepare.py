"""``manage.py prepare``: what bin/up needs before it starts the processes, in one process; a line of JSON out."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import DatabaseError

from tasks_app import demo, lifecycle, registry
from tasks_app.management.commands.ensure_admin import ensure_admin
from tasks_app.models import Task
from tasks_app.states import LIVE, Ending, Status

LAUNCHER_SESSION = timedelta(minutes=10)


class Command(BaseCommand):
    help = "Migrate, check the processors, make the first admin, start the demo. For bin/up."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("request", help="the options of bin/up as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            answer = prepare(json.loads(options["request"]))
        except (demo.Unusable, registry.RegistryError) as error:
            answer = {"error": str(error)}
        except DatabaseError as error:
            answer = {"error": f"The database can't be used ({error}): check DATABASE_URL, or give another --state."}
        self.stdout.write(json.dumps(answer))


def prepare(request: dict[str, Any]) -> dict[str, Any]:
    """Return the admin, a password if one was made, else a session, and the tasks that a prediction will come from."""
    source = demo.source(demo.Wish.of(request))  # refused before anything slow
    if not request.get("unchanged"):
        call_command("migrate", verbosity=0, interactive=False)
        registry.reload()
    name, password = ensure_admin()
    if request.get("workers_are_gone"):
        bury()
    said = demo.start(source)
    tasks = demo.expected_to_run()
    return {
        "admin": name,
        "password": password,
        "session": None if password else launcher_session(name),
        "said": said,
        "tasks": [task.pk for task in tasks],
        "every_s": max((demo.every_s(task.feed) for task in tasks if task.feed), default=0),
    }


def bury() -> None:
    """Terminate what is said to live. The launcher ended every process of this state, so nobody needs to wait for a
    worker's sign of life to run out; the janitor goes on with what was lost."""
    for task in Task.objects.filter(status__in=LIVE):
        try:
            lifecycle.transition(
                task, Status.TERMINATED, actor="launcher", reason="the platform was killed", ending=Ending.LOST
            )
        except lifecycle.TransitionConflict:
            continue


def launcher_session(name: str) -> str:
    """Return the key of a short session with which the launcher looks whether predictions come through."""
    user = get_user_model().objects.get_by_natural_key(name)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.set_expiry(LAUNCHER_SESSION)
    session.create()
    SessionStore.clear_expired()
    return str(session.session_key)
