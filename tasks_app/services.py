"""The rules: what may be asked of a task, whoever asks. Every doorway makes one call into here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import jsonschema
import redis
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from tasks_app import audit, jobs, lifecycle, registry, results
from tasks_app.lifecycle import TransitionConflict
from tasks_app.models import AuditRecord, Feed, IdempotencyKey, Processor, Task
from tasks_app.states import ENDED, LIVE, Status, actions


class Invalid(Exception):
    """What was asked for does not fit; ``errors`` maps a field to what is wrong with it."""

    def __init__(self, errors: dict[str, list[str]]):
        super().__init__("; ".join(f"{name}: {' '.join(texts)}" for name, texts in errors.items()))
        self.errors = errors


class Conflict(Exception):
    """The task's state forbids it; the message says what the state is and what would be allowed."""


KEYS_KEPT = timedelta(hours=24)
LEAST_MEMORY_MB = 512  # Spark refuses a heap below 450 MB, of which a part is Java's
Given = ParamSpec("Given")


@contextmanager
def refusals_written(action: str, target: Any, user: Any) -> Iterator[None]:
    """Write down what a person was refused within."""
    try:
        yield
    except (Conflict, Invalid) as refusal:
        if user is not None:
            audit.write(action, user=user, target=target, outcome="refused", details=str(refusal))
        raise


def _audited(
    action: str,
) -> Callable[[Callable[Concatenate[Task, Given], Task]], Callable[Concatenate[Task, Given], Task]]:
    """Write down what a person asked of a task, also when it was refused. The platform's own acts are events only."""

    def wrap(call: Callable[Concatenate[Task, Given], Task]) -> Callable[Concatenate[Task, Given], Task]:
        @wraps(call)
        def audited(task: Task, /, *args: Given.args, **given: Given.kwargs) -> Task:
            user = given.get("user")
            with refusals_written(action, task, user):
                done = call(task, *args, **given)
            if user is not None:
                told = {name: value for name, value in given.items() if name != "user" and value}
                audit.write(action, user=user, target=task, details=json.dumps(told) if told else "")
            return done

        return audited

    return wrap


def create_once(key: str, request: dict[str, Any], *, user: Any) -> tuple[Task, bool]:
    """Create a task for the first request with a key; return it, and whether it was there already.

    Raises Invalid when the key came with another request. Of two that race, the second waits for the first.
    """
    if not 0 < len(key) <= 200 or not key.isprintable():
        raise Invalid({"Idempotency-Key": [f"{key[:40]!r}: expected 1 to 200 printable characters"]})
    body = json.dumps(request, sort_keys=True)
    fingerprint = hashlib.sha256(body.encode()).hexdigest()
    IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEYS_KEPT).delete()
    with refusals_written("create", request["processor"], user):
        try:
            with transaction.atomic():
                used = IdempotencyKey.objects.create(user=user, key=key, fingerprint=fingerprint)
                used.task = task = _create(**request, user=user)
                used.save(update_fields=["task"])
        except IntegrityError:
            found = _created_before(key, fingerprint, user)
            if found is None:  # it was not the key
                raise
            return found, True
    audit.write("create", user=user, target=task, details=f"with the key {key}")
    return task, False


def _created_before(key: str, fingerprint: str, user: Any) -> Task | None:
    found = IdempotencyKey.objects.select_related("task").filter(user=user, key=key).first()
    if found is None:
        return None
    if found.fingerprint != fingerprint:
        raise Invalid({"Idempotency-Key": [f"{key!r} came with another request before: expected a new key"]})
    assert found.task is not None  # written in the same transaction
    return found.task


def create(
    *,
    processor: str,
    feed: str | None,
    params: dict[str, Any],
    user: Any = None,
    start: bool = True,
    memory_mb: int | None = None,
    on_loss: str = "resume",
    keep: bool = False,
) -> Task:
    """Create a task of a processor by its name, on a feed by its name, and start it if asked to.

    ``memory_mb`` is the heap of its JVM, that of the settings when None; with ``keep`` its results are kept. Where a
    feed's own processor is asked for, parameters that are not given are those of the feed.
    Raises Invalid for an unknown name, parameters that do not fit the processor's schema or memory out of bounds,
    Conflict for a feed that has a live task; then there is no task.
    """
    asked: dict[str, Any] = {"params": params, "start": start, "memory_mb": memory_mb}
    asked |= {"on_loss": on_loss, "keep": keep}
    with refusals_written("create", processor, user):
        task = _create(processor=processor, feed=feed, user=user, **asked)
    if user is not None:
        audit.write("create", user=user, target=task, details="" if start else "not started")
    return task


def _create(
    *,
    processor: str,
    feed: str | None,
    params: dict[str, Any],
    user: Any,
    start: bool,
    memory_mb: int | None = None,
    on_loss: str = "resume",
    keep: bool = False,
) -> Task:
    chosen = Processor.objects.filter(name=processor, enabled=True).first()
    if chosen is None:
        raise Invalid({"processor": [f"{processor!r} is not a registered processor"]})
    source = _feed(chosen, feed)
    own = source.params if source is not None and chosen.kind == "feed" else {}
    full = validate(chosen, {**own, **params})
    if keep and chosen.kind != "stream":
        raise Invalid({"keep": [f"true: a {chosen.kind} has no results that could be kept; expected false"]})
    with transaction.atomic():
        task = Task.objects.create(
            processor=chosen,
            kind=chosen.kind,
            feed=source,
            params=full,
            created_by=user,
            memory_mb=_memory(memory_mb),
            on_loss=on_loss,
            keep=keep,
        )
        lifecycle.note(task, "created", actor=actor_name(user))
        return _start(task, user) if start else task


def _memory(asked_mb: int | None) -> int:
    most = settings.RUNNER_MEMORY_MAX_MB
    if asked_mb is None:
        return settings.RUNNER_MEMORY_MB
    if not LEAST_MEMORY_MB <= asked_mb <= most:
        raise Invalid({"memory_mb": [f"{asked_mb}: expected {LEAST_MEMORY_MB} to {most} MB"]})
    return asked_mb


def _feed(processor: Processor, name: str | None) -> Feed | None:
    if processor.kind == "batch" and not name:
        return None
    found = Feed.objects.filter(name=name).first() if name else None
    if found is None:
        raise Invalid({"feed": [f"{name!r} is not a feed" if name else "this processor needs a feed"]})
    if processor.kind == "feed" and found.processor_id != processor.pk:
        raise Invalid({"feed": [f"feed {name} is made by {found.processor.name}, not by {processor.name}"]})
    return found


def validate(processor: Processor, params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters with defaults filled in; raise Invalid with every one that does not fit."""
    if not isinstance(params, dict):
        raise Invalid({"params": ["expected an object"]})
    schema = processor.schema
    defaults = {name: spec["default"] for name, spec in schema.get("properties", {}).items() if "default" in spec}
    whole = {name for name, spec in schema.get("properties", {}).items() if spec.get("type") == "integer"}
    full = {name: _whole(value) if name in whole else value for name, value in {**defaults, **params}.items()}
    errors = {name: [f"{value}: expected a finite number"] for name, value in full.items() if not _is_finite(value)}
    checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    for error in checker.iter_errors(full):
        name = ".".join(str(part) for part in error.absolute_path) or "params"
        errors.setdefault(name, []).append(error.message)
    if errors:
        raise Invalid(errors)
    return full


def _is_finite(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _whole(value: Any) -> Any:
    """Return 4 for 4.0: the schema takes both for the same whole number, a processor might not."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


@_audited("start")
def start_task(task: Task, *, user: Any = None, actor: str = "") -> Task:
    """Ask for an Initial task to be run: it waits in the queue of its kind until a worker takes it."""
    return _start(task, user, actor)


def _start(task: Task, user: Any, actor: str = "") -> Task:
    if task.kind == "feed":
        _only_one(task)
    asked = Task.objects.filter(pk=task.pk, status=Status.INITIAL, queued_at=None, attempt=task.attempt)
    if asked.update(queued_at=timezone.now()) != 1:
        task.refresh_from_db()
        raise Conflict(_forbidden(task, "start"))
    task.refresh_from_db()
    lifecycle.note(task, "start", actor=actor or actor_name(user))
    transaction.on_commit(lambda: jobs.send(task))
    return task


def _only_one(task: Task) -> None:
    assert task.feed is not None  # by _feed: only a batch task may be without one
    other = feeding(task.feed, but=task)
    if other:
        raise Conflict(f"feed {task.feed.name} has a live task already: #{other.pk}, {other.status}")


def feeding(feed: Feed, but: Task | None = None) -> Task | None:
    """Return the task that feeds a feed, or waits to, other than the one given."""
    waiting = Q(status=Status.INITIAL, queued_at__isnull=False)
    others = feed.tasks.exclude(pk=but.pk) if but else feed.tasks.all()
    return others.filter(Q(status__in=LIVE) | waiting, kind="feed").first()


@_audited("stop")
def stop(task: Task, *, user: Any = None, reason: str = "", actor: str = "") -> Task:
    """Ask for a task to be stopped. What waits is stopped at once; what runs has two seconds."""
    return _stop(task, actor or actor_name(user), reason)


def _stop(task: Task, actor: str, reason: str) -> Task:
    if task.status == Status.INITIAL and task.queued_at:
        return _stop_waiting(task, actor, reason)
    values = {
        "stop_requested_at": timezone.now(),
        "stop_requested_by": actor,
        "stop_reason": reason[:500],
    }
    asked = Task.objects.filter(pk=task.pk, status__in=LIVE, attempt=task.attempt, stop_requested_at=None)
    if asked.update(**values) != 1:
        task.refresh_from_db()
        raise Conflict(_forbidden(task, "stop"))
    task.refresh_from_db()
    lifecycle.note(task, "stop", actor=actor, reason=reason)
    transaction.on_commit(lambda: _order(task, {"stop": True}))
    return task


def _stop_waiting(task: Task, actor: str, reason: str) -> Task:
    try:
        return lifecycle.transition(
            task, Status.STOPPED, actor=actor, reason=reason or "stopped before a worker took it"
        )
    except TransitionConflict:
        task.refresh_from_db()
        return _stop(task, actor, reason) if task.status in LIVE else _raise(_forbidden(task, "stop"))


def _raise(text: str) -> Task:
    raise Conflict(text)


@_audited("retry")
def retry(
    task: Task,
    *,
    user: Any = None,
    fresh: bool = False,
    memory_mb: int | None = None,
    actor: str = "",
    reason: str = "",
) -> Task:
    """Make a new attempt of an ended task. It goes on from its checkpoint unless ``fresh``.

    ``memory_mb`` changes the heap of its JVM from this attempt on.
    """
    memory = task.memory_mb if memory_mb is None else _memory(memory_mb)
    if task.status not in ENDED:
        raise Conflict(_forbidden(task, "retry"))
    if task.kind == "feed":
        _only_one(task)
    try:
        with transaction.atomic():
            task = lifecycle.transition(
                task,
                Status.INITIAL,
                actor=actor or actor_name(user),
                reason=reason,
                attempt=task.attempt + 1,
                fresh=fresh,
                memory_mb=memory,
            )
            return _start(task, user, actor)
    except TransitionConflict as conflict:
        raise Conflict(str(conflict)) from conflict


@_audited("set live")
def set_live(task: Task, *, name: str, value: Any, user: Any = None) -> Task:
    """Change a live parameter of a running task; it takes effect between two snapshots and stays for new attempts."""
    if name not in task.processor.live_params:
        raise Invalid({"name": [f"{name!r} can't be changed while the task runs"]})
    if task.status not in LIVE:
        raise Conflict(f"task {task.pk} is {task.status}: a live parameter needs a running task")
    params = validate(task.processor, {**task.params, name: value})
    Task.objects.filter(pk=task.pk).update(params=params)
    task.refresh_from_db()
    lifecycle.note(task, "change", actor=actor_name(user), details={name: value})
    _order(task, {"change": {name: value}})
    return task


def reload_processors(*, user: Any = None) -> list[str]:
    """Check ``processors.toml`` and swap the registry, all or nothing; return the names that are in it now."""
    try:
        names = registry.reload()
    except registry.RegistryError as error:
        audit.write("reload", user=user, target="processors", outcome="failed", details=str(error))
        raise
    audit.write("reload", user=user, target="processors", details=", ".join(names))
    return names


def last_reload() -> AuditRecord | None:
    """Return how the last reload went; what was refused on its way, for want of a role, was none."""
    return AuditRecord.objects.filter(action="reload", outcome__in=["done", "failed"]).first()


def _order(task: Task, order: dict[str, Any]) -> None:
    try:
        results.default().order(task.pk, order)
    except redis.RedisError:
        return  # a stop stands in the database, where the supervisor looks each second


@dataclass(frozen=True)
class Place:
    """Where a task stands that waits: behind how many, itself included, and what is there to wait for."""

    position: int
    taken: int  # slots in use
    slots: int  # of all workers that live; 0: there is no worker


def place(task: Task) -> Place | None:
    """Return where a task stands in the queue for a free slot, None for one that does not wait."""
    if not task.waiting:
        return None
    ahead = Task.objects.filter(status=Status.INITIAL).filter(
        Q(queued_at__lt=task.queued_at) | Q(queued_at=task.queued_at, pk__lt=task.pk)
    )
    taken = Task.objects.filter(status__in=LIVE).count()
    return Place(position=ahead.count() + 1, taken=taken, slots=_slots())


def _slots() -> int:
    try:
        return results.default().slots()
    except redis.RedisError:
        return 0


def allowed_actions(task: Task) -> list[str]:
    """Return what may be asked of the task now."""
    return actions(task.status, queued=task.queued_at is not None, stopping=task.stopping)


def _forbidden(task: Task, action: str) -> str:
    allowed = ", ".join(allowed_actions(task)) or "nothing until it has ended"
    return f"task {task.pk} is {'stopping' if task.stopping else task.status}: can't {action}; allowed: {allowed}"


def actor_name(user: Any) -> str:
    return user.get_username() if user is not None and user.is_authenticated else "platform"
