"""Feeds as people make, change and delete them: one set of checks, whoever asks."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, transaction

from tasks_app import audit, services
from tasks_app.models import Feed, Processor


def create(*, processor: str, user: Any, **fields: Any) -> Feed:
    """Make a feed of a processor by its name, with fields of ``Feed``. Raises Invalid with what does not fit."""
    with services.refusals_written("create feed", fields.get("name", ""), user):
        feed = checked(Feed(processor=_processor(processor), **fields))
        save_new(feed)
    audit.write("create feed", user=user, target=feed.name)
    return feed


def change(feed: Feed, *, user: Any, processor: str | None = None, **fields: Any) -> Feed:
    """Change what is given; raises Invalid, or Conflict while a task of the feed runs, which would not know of it."""
    with services.refusals_written("change feed", feed.name, user):
        if "name" in fields and fields["name"] != feed.name:
            expected = f"expected {feed.name!r}, by which its history is known"
            raise services.Invalid({"name": [f"{fields['name']!r}: {expected}"]})
        refuse_while_fed(feed)
        if processor is not None:
            feed.processor = _processor(processor)
        for name, value in fields.items():
            setattr(feed, name, value)
        checked(feed)
        try:
            with transaction.atomic():
                feed.save(force_update=True)
        except DatabaseError as error:
            raise services.Conflict(f"feed {feed.name} was deleted meanwhile") from error
    audit.write("change feed", user=user, target=feed.name, details=json.dumps(fields, default=str))
    return feed


def delete(feed: Feed, *, user: Any) -> None:
    """Delete a feed that no task is of; its history stays. Raises Conflict where there are tasks."""
    with services.refusals_written("delete feed", feed.name, user), transaction.atomic():
        count = feed.tasks.count()
        if count:
            lost = f"the record of its tasks ({count}) would be lost"
            raise services.Conflict(f"feed {feed.name} can't be deleted: {lost}")
        feed.delete()
    audit.write("delete feed", user=user, target=feed.name)


def refuse_while_fed(feed: Feed) -> None:
    """Raise Conflict while a task of the feed runs, which would not know of a change."""
    live = services.feeding(feed)
    if live is not None:
        raise services.Conflict(f"task {live.pk} feeds {feed.name} now ({live.status}): stop it first")


def save_new(feed: Feed) -> None:
    """Write a feed that is checked; raise Invalid where another one took its name meanwhile."""
    try:
        with transaction.atomic():
            feed.save(force_insert=True)
    except IntegrityError as error:
        raise services.Invalid({"name": [f"{feed.name!r}: there is a feed of this name already"]}) from error


def checked(feed: Feed) -> Feed:
    """Return the feed with its parameters' defaults filled in; raise Invalid with what does not fit."""
    try:
        feed.full_clean()
    except ValidationError as error:
        raise services.Invalid(error.message_dict) from error
    feed.params = services.validate(feed.processor, feed.params)
    return feed


def _processor(name: str) -> Processor:
    found = Processor.objects.filter(name=name, kind="feed", enabled=True).first()
    if found is None:
        known = ", ".join(Processor.objects.filter(kind="feed", enabled=True).values_list("name", flat=True))
        raise services.Invalid({"processor": [f"{name!r} is not a feed's processor: expected one of {known}"]})
    return found
