"""Roles, tokens and the audit, as far as the database alone can tell."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from django.db import transaction
from django.utils import timezone

from tasks_app import audit, logs, roles, services, tokens
from tasks_app.models import ApiToken, AuditRecord, IdempotencyKey, NeverChanged, Processor
from tasks_app.roles import May

pytestmark = pytest.mark.django_db


def person(name: str, group: str | None = None, **given: Any) -> Any:
    user = get_user_model().objects.create_user(name, **given)
    if group:
        user.groups.add(Group.objects.get(name=group))
    return user


def test_the_table_of_roles() -> None:
    allowed = {
        name: [what.value for what in May if roles.may(user, what)]
        for name, user in {
            "nobody": AnonymousUser(),
            "gone": person("gone", "admin", is_active=False),
            "no group": person("new"),
            "viewer": person("v", "viewer"),
            "operator": person("o", "operator"),
            "admin": person("a", "admin"),
            "superuser": person("s", is_superuser=True),
        }.items()
    }
    everything = ["look", "run", "manage"]
    assert allowed == {
        "nobody": [],
        "gone": [],
        "no group": ["look"],
        "viewer": ["look"],
        "operator": ["look", "run"],
        "admin": everything,
        "superuser": everything,
    }


def test_the_admins_permissions_are_those_of_the_table() -> None:
    viewer, manager = person("v", "viewer"), person("a", "admin")
    assert viewer.has_perm("tasks_app.view_task") and not viewer.has_perm("tasks_app.change_feed")
    assert viewer.has_perm("tasks_app.view_instrument") and not viewer.has_perm("tasks_app.change_instrument")
    assert not viewer.has_perm("tasks_app.view_auditrecord") and not viewer.has_perm("auth.view_user")
    assert manager.has_perm("tasks_app.change_feed") and manager.has_perm("auth.change_user")
    assert not person("gone", "admin", is_active=False).has_perm("tasks_app.view_task")


def test_of_a_token_only_the_hash_is_kept() -> None:
    token, text = tokens.make(person("v"), "notebook", 30)
    held = " ".join(str(value) for value in ApiToken.objects.filter(pk=token.pk).values().get().values())
    assert text.startswith("lsp_") and len(text) > 60 and text not in held and text[16:] not in held
    assert timedelta(days=29) < token.expiry - timezone.now() <= timedelta(days=30)


def test_a_token_that_has_ended_or_whose_user_has_lets_nobody_in() -> None:
    user = person("v")
    token, _ = tokens.make(user, "notebook", 1)
    credential = f"token:{token.pk}"
    assert tokens.holder(credential) == user
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert tokens.holder(credential) is None
    ApiToken.objects.update(expiry=timezone.now() + timedelta(days=1))
    user.is_active = False
    user.save()
    assert tokens.holder(credential) is None
    assert tokens.holder("session:") is None and tokens.holder("") is None


@pytest.mark.parametrize(
    ("name", "days", "field"), [("a b", 1, "name"), ("", 1, "name"), ("n", 0, "days"), ("n", 366, "days")]
)
def test_a_token_that_does_not_fit_is_refused_by_name(name: str, days: int, field: str) -> None:
    with pytest.raises(services.Invalid) as refused:
        tokens.make(person("v"), name, days)
    assert list(refused.value.errors) == [field]


def test_a_tokens_name_is_its_users_own() -> None:
    tokens.make(person("v"), "notebook", 1)
    tokens.make(person("o"), "notebook", 1)
    with pytest.raises(services.Conflict, match="'notebook' already"):
        tokens.make(get_user_model().objects.get(username="v"), "notebook", 1)


def test_the_audit_is_never_changed() -> None:
    audit.write("stop", user=person("o"), target="task 1")
    record = AuditRecord.objects.get()
    record.outcome = "failed"
    for change in (
        record.save,
        record.delete,
        AuditRecord.objects.all().delete,
        lambda: AuditRecord.objects.update(who="somebody else"),
        lambda: AuditRecord.objects.filter(pk=record.pk).update(who=""),
        lambda: AuditRecord.objects.bulk_update([record], ["outcome"]),
    ):
        with pytest.raises(NeverChanged), transaction.atomic():
            change()
    assert AuditRecord.objects.get().outcome == "done"


def test_a_key_is_forgotten_after_a_day_and_a_refused_creation_keeps_none() -> None:
    Processor.objects.create(name="nightly", kind="batch", class_path="x:Y", schema={"type": "object"})
    user = person("o", "operator")
    wanted = {"processor": "nightly", "feed": None, "params": {}, "start": False}
    with pytest.raises(services.Invalid):
        services.create_once("k", {**wanted, "processor": "rumour"}, user=user)
    first, replayed = services.create_once("k", wanted, user=user)
    assert not replayed and services.create_once("k", wanted, user=user) == (first, True)
    with pytest.raises(services.Invalid, match="another request"):
        services.create_once("k", {**wanted, "params": {"a": 1}}, user=user)
    other, replayed = services.create_once("k", wanted, user=person("p", "operator"))
    assert not replayed and other != first
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert services.create_once("k", wanted, user=user)[1] is False
    told = list(AuditRecord.objects.order_by("id").values_list("who", "action", "outcome"))
    assert told[:3] == [("o", "create", "refused"), ("o", "create", "done"), ("o", "create", "refused")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:hunter2@host:6379/0", "redis://user:***@host:6379/0"),
        ("postgres://:p%40ss@db/x and https://example.org/a@b", "postgres://:***@db/x and https://example.org/a@b"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer ***"),
        ("token lsp_0123456789abcdef is used", "token lsp_*** is used"),
        ('{"password": "hunter2", "user": "a"}', '{"password": ***, "user": "a"}'),
        ("API_KEY=abc123 next", "API_KEY=*** next"),
        ("db_password = 'a b'; k = 1", "db_password = ***; k = 1"),
        ("120 stocks, token bucket full", "120 stocks, token bucket full"),
    ],
)
def test_secrets_are_masked(text: str, shown: str) -> None:
    assert logs.mask(text) == shown


@pytest.mark.parametrize("word", ["x", "token", "://a:", 'password="', "seq=1 "])
def test_a_mebibyte_of_anything_is_masked_in_a_moment(word: str) -> None:
    began = time.process_time()
    logs.mask(word * (2**20 // len(word)))
    assert time.process_time() - began < 4, "quadratic expressions take minutes"
