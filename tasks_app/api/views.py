"""The REST doorway: translate in, make one call, translate out."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_protect, ensure_csrf_cookie
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from processors.bus import Bus
from tasks_app import results, roles, services
from tasks_app.api import serializers
from tasks_app.api.problems import problem
from tasks_app.models import Feed, Processor, Task
from tasks_app.states import LIVE


@method_decorator([ensure_csrf_cookie, csrf_protect], name="dispatch")
class SessionView(APIView):
    """Who is logged in; log in; log out."""

    permission_classes = [AllowAny]

    def get(self, request: Request) -> Response:
        return Response(self._describe(request))

    def post(self, request: Request) -> Response:
        given = serializers.LoginRequest(data=request.data)
        given.is_valid(raise_exception=True)
        user = authenticate(request, **given.validated_data)
        if user is None:
            return problem(400, "wrong user name or password")
        login(request._request, user)
        return Response(self._describe(request))

    def delete(self, request: Request) -> Response:
        logout(request._request)
        return Response(status=204)

    @staticmethod
    def _describe(request: Request) -> dict[str, Any]:
        user = request._request.user
        known = {"name": user.get_username(), "role": roles.role_of(user)} if user.is_authenticated else None
        return {"user": known, "version": settings.VERSION}


class ProcessorViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    queryset = Processor.objects.filter(enabled=True)
    serializer_class = serializers.ProcessorSerializer
    lookup_field = "name"
    pagination_class = None


class FeedViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    queryset = Feed.objects.select_related("processor")
    serializer_class = serializers.FeedSerializer
    lookup_field = "name"
    pagination_class = None

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response([self._describe(feed) for feed in self.get_queryset()])

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self._describe(self.get_object()))

    def _describe(self, feed: Feed) -> dict[str, Any]:
        live = feed.tasks.filter(kind="feed", status__in=LIVE).first()
        last = Bus(results.default().client, feed.name).last()
        kept = ("seq", "time", "received", "expected", "session", "run")
        data = dict(self.get_serializer(feed).data)
        data["live_task"] = live.pk if live else None
        data["last"] = {name: getattr(last, name) for name in kept} if last else None
        return data


class TaskViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    queryset = Task.objects.select_related("processor", "feed", "created_by")
    serializer_class = serializers.TaskSerializer

    def filter_queryset(self, queryset: Any) -> Any:
        asked = {"kind": "kind", "status": "status", "feed": "feed__name", "processor": "processor__name"}
        given = {
            field: self.request.query_params[name] for name, field in asked.items() if name in self.request.query_params
        }
        return queryset.filter(**given)

    def create(self, request: Request) -> Response:
        given = serializers.TaskRequest(data=request.data)
        given.is_valid(raise_exception=True)
        return self._answer(services.create(**given.validated_data, user=request.user), 201)

    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:
        return self._answer(services.start_task(self.get_object(), user=request.user), 202)

    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        given = serializers.StopRequest(data=request.data)
        given.is_valid(raise_exception=True)
        return self._answer(services.stop(self.get_object(), user=request.user, **given.validated_data), 202)

    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        given = serializers.RetryRequest(data=request.data)
        given.is_valid(raise_exception=True)
        return self._answer(services.retry(self.get_object(), user=request.user, **given.validated_data), 202)

    @action(detail=True, methods=["post"])
    def live(self, request: Request, pk: str) -> Response:
        given = serializers.LiveRequest(data=request.data)
        given.is_valid(raise_exception=True)
        return self._answer(services.set_live(self.get_object(), user=request.user, **given.validated_data), 202)

    @action(detail=True)
    def events(self, request: Request, pk: str) -> Response:
        return Response(serializers.EventSerializer(self.get_object().events.all(), many=True).data)

    @action(detail=True)
    def result(self, request: Request, pk: str) -> Response:
        item = results.default().latest(self.get_object().pk)
        if item is None:
            raise NotFound(f"task {pk} has no result yet")
        return Response(item.as_json())

    @action(detail=True)
    def results(self, request: Request, pk: str) -> Response:
        after, limit = request.query_params.get("after"), _limit(request)
        items = results.default().range(self.get_object().pk, after=after, limit=limit)
        return Response({"items": [item.as_json() for item in items], "last_id": items[-1].id if items else after})

    def _answer(self, task: Task, status: int) -> Response:
        return Response(self.get_serializer(task).data, status=status)


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "600")
    if not text.isdigit() or not 1 <= int(text) <= 5000:
        raise services.Invalid({"limit": [f"{text!r}: expected a whole number from 1 to 5000"]})
    return int(text)
