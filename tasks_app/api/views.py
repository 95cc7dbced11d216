"""The REST doorway: translate in, make one call, translate out."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_protect, ensure_csrf_cookie
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from prometheus_client import CONTENT_TYPE_LATEST
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView

from processors.bus import Bus
from tasks_app import asyncapi, feeds, health, logs, messages, metrics, results, roles, schedules, services, tokens
from tasks_app.api import schema, serializers
from tasks_app.api.filters import AuditFilter, InstrumentFilter, TaskFilter
from tasks_app.api.problems import problem
from tasks_app.messages import ITEM_ID
from tasks_app.models import ApiToken, AuditRecord, Feed, Instrument, Processor, Schedule, ScheduleRun, Task, TaskEvent
from tasks_app.results import Item
from tasks_app.roles import May
from tasks_app.states import LIVE


class LoginThrottle(ScopedRateThrottle):
    """Counts logins, not questions about who is logged in."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        return request.method != "POST" or super().allow_request(request, view)


@method_decorator([ensure_csrf_cookie, csrf_protect], name="dispatch")
class SessionView(APIView):
    """Who is logged in; log in; log out."""

    permission_classes = [AllowAny]
    throttle_classes = [LoginThrottle]
    throttle_scope = "login"

    @extend_schema(operation_id="who", auth=[], responses=serializers.SessionAnswer)
    def get(self, request: Request) -> Response:
        """Who is logged in; sets the CSRF cookie."""
        return Response(self._describe(request))

    @extend_schema(operation_id="login", auth=[], request=serializers.LoginRequest, responses=serializers.SessionAnswer)
    def post(self, request: Request) -> Response:
        """Log in."""
        given = serializers.LoginRequest(data=request.data)
        given.is_valid(raise_exception=True)
        user = authenticate(request._request, **given.validated_data)
        if user is None:
            return problem(400, "wrong user name or password")
        login(request._request, user)
        return Response(self._describe(request))

    @extend_schema(operation_id="logout", responses={204: None})
    def delete(self, request: Request) -> Response:
        """Log out; the websockets of the session are closed."""
        logout(request._request)
        return Response(status=204)

    @staticmethod
    def _describe(request: Request) -> dict[str, Any]:
        user = request._request.user
        known = {"name": user.get_username(), "role": roles.role_of(user)} if user.is_authenticated else None
        return {"user": known, "version": settings.VERSION}


class TokenViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """One's own API tokens."""

    serializer_class = serializers.TokenSerializer
    queryset = ApiToken.objects.none()
    lookup_field = "name"
    pagination_class = None
    filter_backends = []
    needs = {"create": May.LOOK, "destroy": May.LOOK}

    def get_queryset(self) -> QuerySet[ApiToken]:
        return ApiToken.objects.filter(user=self.request.user)  # type: ignore[misc]

    @extend_schema(request=serializers.TokenRequest, responses={201: serializers.NewToken})
    def create(self, request: Request) -> Response:
        """Make a token; needs a session, so that a token can't prolong itself. The token is told only here."""
        if isinstance(request.auth, ApiToken):
            raise PermissionDenied("a token is made with a session, not with another token")
        given = serializers.TokenRequest(data=request.data)
        given.is_valid(raise_exception=True)
        token, text = tokens.make(request.user, **given.validated_data)
        return Response({**serializers.TokenSerializer(token).data, "token": text}, status=201)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, name: str) -> Response:
        """Revoke a token; websockets that it opened are closed."""
        tokens.revoke(self.get_object(), user=request.user)
        return Response(status=204)


class AuditViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """Who did what, when, from where; newest first."""

    needs = {"list": May.MANAGE}
    queryset = AuditRecord.objects.all()
    serializer_class = serializers.AuditSerializer
    filterset_class = AuditFilter


class TicketView(APIView):
    needs = {"post": May.LOOK}

    @extend_schema(operation_id="ticket", request=None, responses={201: serializers.TicketAnswer})
    def post(self, request: Request) -> Response:
        """Get a ticket that opens one websocket, `/ws/live?ticket=…`, within half a minute."""
        ticket = tokens.issue_ticket(tokens.credential_of(request))
        return Response({"ticket": ticket, "expires_in_s": tokens.TICKET_S}, status=201)


class AsyncApiView(APIView):
    permission_classes = [AllowAny]

    @extend_schema(operation_id="asyncapi", auth=[], responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """The AsyncAPI document of the websocket."""
        return Response(asyncapi.document(settings.VERSION))


class MetricsView(APIView):
    @extend_schema(operation_id="metrics", responses={(200, "text/plain"): OpenApiTypes.STR})
    def get(self, request: Request) -> HttpResponse:
        """What Prometheus reads; let it in with a viewer's token."""
        return HttpResponse(metrics.text(), content_type=CONTENT_TYPE_LATEST)


class ProcessorViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """What can be run, and what could be: a processor that is not `enabled` takes no new task."""

    needs = {"reload": May.MANAGE, "last_reload": May.MANAGE}
    queryset = Processor.objects.all()
    serializer_class = serializers.ProcessorSerializer
    lookup_field = "name"
    pagination_class = None
    filter_backends = []

    @extend_schema(request=None, responses=serializers.ReloadAnswer, filters=False)
    @action(detail=False, methods=["post"])
    def reload(self, request: Request) -> Response:
        """Check `processors.toml` and every class in it in a fresh process and take them over, all or none.

        What is broken is named with file and line, and nothing changes. Running tasks keep the code they have.
        """
        return Response({"processors": services.reload_processors(user=request.user)})

    @extend_schema(operation_id="last_reload", responses=serializers.LastReload(allow_null=True), filters=False)
    @reload.mapping.get
    def last_reload(self, request: Request) -> Response:
        """How the last reload went, whoever asked for it and however: null before the first."""
        last = services.last_reload()
        return Response(last and serializers.LastReload(last).data)


class FeedViewSet(viewsets.GenericViewSet):
    """Where ticks come from, the live task of each and its newest snapshot."""

    queryset = Feed.objects.select_related("processor")
    serializer_class = serializers.FeedSerializer
    lookup_field = "name"
    pagination_class = None
    filter_backends = []
    needs = dict.fromkeys(("create", "partial_update", "destroy"), May.MANAGE)

    @extend_schema(responses=serializers.FeedSerializer(many=True))
    def list(self, request: Request) -> Response:
        return Response([self._describe(feed) for feed in self.get_queryset()])

    def retrieve(self, request: Request, name: str) -> Response:
        return Response(self._describe(self.get_object()))

    @extend_schema(request=serializers.FeedRequest, responses={201: serializers.FeedSerializer})
    def create(self, request: Request) -> Response:
        """Make a feed; a task of its processor then feeds it."""
        given = serializers.FeedRequest(data=request.data)
        given.is_valid(raise_exception=True)
        return Response(self._describe(feeds.create(user=request.user, **given.validated_data)), status=201)

    @extend_schema(request=serializers.FeedRequest(partial=True))
    def partial_update(self, request: Request, name: str) -> Response:
        """Change a feed that no task feeds just now."""
        given = serializers.FeedRequest(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        return Response(self._describe(feeds.change(self.get_object(), user=request.user, **given.validated_data)))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, name: str) -> Response:
        """Delete a feed without tasks; what the history holds of it stays."""
        feeds.delete(self.get_object(), user=request.user)
        return Response(status=204)

    @extend_schema(responses=serializers.HealthSerializer, filters=False)
    @action(detail=True)
    def health(self, request: Request, name: str) -> Response:
        """How the feed is doing: in one word, in a sentence, and the numbers behind it."""
        return Response(health.of(self.get_object()).as_json())

    def _describe(self, feed: Feed) -> dict[str, Any]:
        live = feed.tasks.filter(kind="feed", status__in=LIVE).first()
        last = Bus(results.default().client, feed.name).last()
        kept = ("seq", "time", "received", "expected", "session", "run")
        data = dict(self.get_serializer(feed).data)
        data["live_task"] = live.pk if live else None
        data["last"] = {name: getattr(last, name) for name in kept} if last else None
        return data


class InstrumentViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """What the codes stand for, in order of code, in pages."""

    queryset = Instrument.objects.all()
    serializer_class = serializers.InstrumentSerializer
    filterset_class = InstrumentFilter


class TaskViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Tasks: each one run order of one processor, with its life."""

    queryset = Task.objects.select_related("processor", "feed", "created_by")
    serializer_class = serializers.TaskSerializer
    filterset_class = TaskFilter
    lookup_value_regex = r"\d+"
    needs = dict.fromkeys(("create", "start", "stop", "retry", "live"), May.RUN)

    @extend_schema(
        request=serializers.TaskRequest, responses={201: serializers.TaskSerializer}, parameters=[schema.IDEMPOTENCY]
    )
    def create(self, request: Request) -> Response:
        """Create a task and, unless told otherwise, ask for its start."""
        given = serializers.TaskRequest(data=request.data)
        given.is_valid(raise_exception=True)
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return self._answer(services.create(**given.validated_data, user=request.user), 201)
        task, replayed = services.create_once(key, given.validated_data, user=request.user)
        answer = self._answer(task, 201)
        answer["Idempotency-Replayed"] = str(replayed).lower()
        return answer

    @extend_schema(request=None, responses={202: serializers.TaskSerializer})
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:
        """Ask for a task that was never started to be run."""
        return self._answer(services.start_task(self.get_object(), user=request.user), 202)

    @extend_schema(request=serializers.StopRequest, responses={202: serializers.TaskSerializer})
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Ask for a task to be stopped."""
        given = serializers.StopRequest(data=request.data)
        given.is_valid(raise_exception=True)
        return self._answer(services.stop(self.get_object(), user=request.user, **given.validated_data), 202)

    @extend_schema(request=serializers.RetryRequest, responses={202: serializers.TaskSerializer})
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Ask for a new attempt of an ended task; it goes on from the checkpoint unless fresh."""
        given = serializers.RetryRequest(data=request.data)
        given.is_valid(raise_exception=True)
        return self._answer(services.retry(self.get_object(), user=request.user, **given.validated_data), 202)

    @extend_schema(request=serializers.LiveRequest, responses={202: serializers.TaskSerializer})
    @action(detail=True, methods=["post"])
    def live(self, request: Request, pk: str) -> Response:
        """Change a live parameter of a running task, between two snapshots."""
        given = serializers.LiveRequest(data=request.data)
        given.is_valid(raise_exception=True)
        return self._answer(services.set_live(self.get_object(), user=request.user, **given.validated_data), 202)

    @extend_schema(responses=serializers.EventSerializer(many=True), filters=False)
    @action(detail=True, filterset_class=None, queryset=TaskEvent.objects.all())
    def events(self, request: Request, pk: str) -> Response:
        """What happened to the task, oldest first, in pages."""
        page = self.paginate_queryset(task_of(pk).events.all())
        return self.get_paginated_response(serializers.EventSerializer(page, many=True).data)

    @extend_schema(
        responses={
            (200, "application/json"): serializers.LogAnswer,
            (200, "text/plain"): OpenApiResponse(OpenApiTypes.STR, description="with download"),
        },
        parameters=[
            OpenApiParameter("attempt", int, description="the newest unless told"),
            OpenApiParameter("tail", int, description="lines, 1 to 10000; 200 unless told"),
            OpenApiParameter("download", bool, description="as a text file: its last 16 MiB"),
        ],
        filters=False,
    )
    @action(detail=True, filterset_class=None)
    def log(self, request: Request, pk: str) -> HttpResponseBase:
        """The end of an attempt's log, at most 1 MiB, secrets masked."""
        task, asked = task_of(pk), request.query_params
        attempt = whole(request, "attempt", 1, 2**31) if "attempt" in asked else None
        if asked.get("download", "false").lower() in ("1", "true"):
            found = logs.read(task.pk, attempt)
            answer = HttpResponse(found.text, content_type="text/plain; charset=utf-8")
            answer["Content-Disposition"] = f'attachment; filename="task-{task.pk}-attempt-{found.attempt}.log"'
            return answer
        return Response(asdict(logs.read(task.pk, attempt, lines=whole(request, "tail", 1, 10_000, 200))))

    @extend_schema(
        responses={200: messages.Item, 304: schema.NOT_MODIFIED},
        parameters=[schema.ETAG],
        examples=[schema.ITEM],
        filters=False,
    )
    @action(detail=True, filterset_class=None)
    def result(self, request: Request, pk: str) -> HttpResponseBase:
        """The newest result."""
        task = task_of(pk)
        item = results.default().latest(task.pk)
        if item is None:
            raise NotFound(f"task {pk} has no result yet")
        return _unless_held(request, task, [item], item.as_json())

    @extend_schema(
        responses={200: serializers.ItemsAnswer, 304: schema.NOT_MODIFIED},
        parameters=[schema.AFTER, schema.LIMIT, schema.ETAG],
        examples=[schema.ITEMS],
        filters=False,
    )
    @action(detail=True, filterset_class=None)
    def results(self, request: Request, pk: str) -> HttpResponseBase:
        """Results after an id, oldest first; the newest ones without an id."""
        task, after, limit = task_of(pk), _item_id(request), whole(request, "limit", 1, 5000, 600)
        items = results.default().range(task.pk, after=after, limit=limit)
        told = {"items": [item.as_json() for item in items], "last_id": items[-1].id if items else after}
        return _unless_held(request, task, items, told)

    def _answer(self, task: Task, status: int) -> Response:
        return Response(serializers.TaskSerializer(task).data, status=status)


class ScheduleViewSet(viewsets.ModelViewSet):
    """When tasks are started and stopped by themselves."""

    queryset = Schedule.objects.select_related("task", "task__processor")
    serializer_class = serializers.ScheduleSerializer
    filterset_fields = ["task", "action", "enabled"]
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    lookup_value_regex = r"\d+"
    needs = dict.fromkeys(("create", "partial_update", "destroy"), May.RUN)

    def perform_create(self, serializer: Any) -> None:
        serializer.instance = schedules.create(user=self.request.user, **serializer.validated_data)

    def perform_update(self, serializer: Any) -> None:
        schedules.update(serializer.instance, user=self.request.user, **serializer.validated_data)

    def perform_destroy(self, instance: Schedule) -> None:
        schedules.delete(instance, user=self.request.user)

    @extend_schema(responses=serializers.RunSerializer(many=True), filters=False)
    @action(detail=True, filterset_fields=None, queryset=ScheduleRun.objects.all())
    def runs(self, request: Request, pk: str) -> Response:
        """When it was due and what came of it, newest first, in pages."""
        found = Schedule.objects.filter(pk=pk).first() if WHOLE.fullmatch(pk) else None
        if found is None:
            raise NotFound(f"there is no schedule {pk[:100]}")
        page = self.paginate_queryset(found.runs.all())
        return self.get_paginated_response(serializers.RunSerializer(page, many=True).data)


WHOLE = re.compile(r"[0-9]{1,18}")


def task_of(pk: int | str) -> Task:
    found = Task.objects.select_related("feed").filter(pk=pk).first() if WHOLE.fullmatch(str(pk)) else None
    if found is None:
        raise NotFound(f"there is no task {str(pk)[:100]}")
    return found


def _unless_held(request: Request, task: Task, items: list[Item], told: dict[str, Any]) -> HttpResponseBase:
    """Return the answer with its ETag, or 304 to who has it. A fresh attempt may use an id again: it counts."""
    ends = f"{items[0].id}-{items[-1].id}-{len(items)}" if items else "none"
    etag = f'"{task.attempt}-{ends}"'
    answer = get_conditional_response(request._request, etag=etag) or Response(told)
    answer["ETag"] = etag
    return answer


def whole(request: Request, name: str, least: int, most: int, default: int = 0) -> int:
    text = request.query_params.get(name, str(default))
    if not WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise services.Invalid({name: [f"{text!r}: expected a whole number from {least} to {most}"]})
    return int(text)


def _item_id(request: Request) -> str | None:
    text = request.query_params.get("after") or None
    if text is not None and not re.fullmatch(ITEM_ID, text):
        raise services.Invalid({"after": [f"{text[:100]!r}: expected an id such as 1700000000000-0"]})
    return text
