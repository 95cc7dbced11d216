"""The addresses of the platform that this one follows, with their names, parameters and JSON; outside of ``/api``.

``pid`` is a task's id, ``pname`` a processor's name. Reads are by GET; what changes something takes POST and a login.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed, NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tasks_app import results, services
from tasks_app.api.views import WHOLE
from tasks_app.models import Processor, Task
from tasks_app.results import Item
from tasks_app.roles import May
from tasks_app.states import LIVE, Status

SHOWN = 100
_PNAME = OpenApiParameter("pname", str, required=True, description="processor's name")
_PID = OpenApiParameter("pid", int, required=True, description="task's id")


class _Changes(APIView):
    """Base of the calls that change something."""

    http_method_names = ["post", "options"]

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        raise MethodNotAllowed(
            str(request.method),
            f"{request.method} changes nothing here: POST {request.path}, logged in or with a token",
        )


def _answer(name: str, fields: dict[str, serializers.Field], example: Any, status: int = 200) -> dict[str, Any]:
    """Return what ``extend_schema`` needs to know of an answer."""
    shown = OpenApiExample(name, value=example, response_only=True, status_codes=[str(status)])
    return {"responses": {status: inline_serializer(name, fields)}, "examples": [shown], "tags": ["original"]}


class Demo(APIView):
    @extend_schema(
        operation_id="demo",
        **_answer(
            "Average",
            {"pid": serializers.IntegerField(), "result": serializers.DictField()},
            {"pid": 9, "result": {"1638322203000": {"1": {"real": 23.1, "prediction": 23.12}}}},
        ),
    )
    def get(self, request: Request) -> Response:
        """The latest result of a running `stock_avg` task."""
        for task in Task.objects.filter(processor__name="stock_avg", status=Status.RUNNING):
            item = results.default().latest(task.pk)
            if item:
                return Response({"pid": task.pk, "result": series([item])})
        raise NotFound("no stock_avg task runs with a result yet: start one by POST /add_task?pname=stock_avg")


class AddTask(_Changes):
    needs = {"post": May.RUN}

    @extend_schema(
        operation_id="add_task",
        request=None,
        parameters=[_PNAME, OpenApiParameter("feed", str, description="feed's name; the first live one unless told")],
        **_answer(
            "Added",
            {"pid": serializers.IntegerField(), "pname": serializers.CharField()},
            {"pid": 7, "pname": "stock_avg"},
            201,
        ),
    )
    def post(self, request: Request) -> Response:
        """Start a task of a processor; parameters in the query or the body."""
        name = _given(request, "pname")
        feed = _given(request, "feed", needed=False) or _feed_for(name)
        task = services.create(processor=name, feed=feed, params={}, user=request.user)
        return Response({"pid": task.pk, "pname": name}, status=201)


class StopProcessor(_Changes):
    needs = {"post": May.RUN}

    @extend_schema(
        operation_id="stop_oltp_processor",
        request=None,
        parameters=[_PID, _PNAME],
        **_answer(
            "Stopped",
            {"pid": serializers.IntegerField(), "status": serializers.CharField()},
            {"pid": 7, "status": "Running"},
            202,
        ),
    )
    def post(self, request: Request) -> Response:
        """Ask for a task to be stopped; `status` is what it is when asked, it ends within two seconds."""
        task = services.stop(_task(request), user=request.user)
        return Response({"pid": task.pk, "status": task.status}, status=202)


class CurrentResult(APIView):
    @extend_schema(
        operation_id="get_curr_oltp_result",
        parameters=[_PID, _PNAME],
        **_answer(
            "CurrentResults",
            {"result": serializers.DictField(), "clusters": serializers.DictField(child=serializers.IntegerField())},
            {
                "result": {"2021-12-01T01:30:03+00:00": {"1": {"real": 23.1, "prediction": 23.12}}},
                "clusters": {"1": 19},
            },
        ),
    )
    def get(self, request: Request) -> Response:
        """Real and predicted price of each cluster over the newest 100 results, and the clusters' sizes."""
        task = _task(request)
        items = results.default().range(task.pk, limit=SHOWN)
        if not items:
            raise NotFound(f"task {task.pk} has no result yet")
        sizes = {str(cluster["id"]): cluster["size"] for cluster in items[-1].numbers["clusters"]}
        return Response({"result": series(items), "clusters": sizes})


class ReloadCfg(_Changes):
    needs = {"post": May.MANAGE}

    @extend_schema(
        operation_id="reload_cfg",
        request=None,
        **_answer(
            "Reloaded",
            {"pname_dict": serializers.DictField()},
            {"pname_dict": {"stock_avg": {"classname": "processors.stream.stock_avg:StockAvg", "type": "stream"}}},
        ),
    )
    def post(self, request: Request) -> Response:
        """Check `processors.toml` and take it, all or nothing."""
        services.reload_processors(user=request.user)
        found = Processor.objects.filter(enabled=True)
        return Response(
            {"pname_dict": {each.name: {"classname": each.class_path, "type": each.kind} for each in found}}
        )


def series(items: list[Item]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return time → cluster → real price and the price that was predicted for that time; null where there is none, and
    no time of which nothing is known."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for item in items:
        for cluster in item.numbers["clusters"]:
            for time, name, value in (
                (item.numbers["time"], "real", cluster["price"]),
                (item.numbers["target_time"], "prediction", cluster["predicted_price"]),
            ):
                if value is None:
                    continue
                at = found.setdefault(_stamp(time), {})
                at.setdefault(str(cluster["id"]), {"real": None, "prediction": None})[name] = value
    return found


def _stamp(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


def _given(request: Request, name: str, *, needed: bool = True) -> str:
    """Return a parameter from the query or the body."""
    body = request.data if isinstance(request.data, dict) else {}
    value = str(request.query_params.get(name) or body.get(name) or "")
    if needed and not value:
        raise services.Invalid({name: ["is missing: give it in the query or the body"]})
    return value


def _task(request: Request) -> Task:
    pid, name = _given(request, "pid"), _given(request, "pname")
    if not WHOLE.fullmatch(pid):
        raise services.Invalid({"pid": [f"{pid[:100]!r}: expected a task's id"]})
    found = Task.objects.select_related("processor").filter(pk=pid, processor__name=name).first()
    if found is None:
        raise NotFound(f"there is no task {pid} of a processor {name!r}")
    return found


def _feed_for(processor: str) -> str | None:
    """Return the feed of a processor that makes one, else the first that is live."""
    found = Processor.objects.filter(name=processor, enabled=True).first()
    if found is not None and found.kind == "feed":
        feed = found.feed_set.first()
        return feed.name if feed else None
    live = Task.objects.filter(kind="feed", status__in=LIVE).select_related("feed").order_by("id").first()
    return live.feed.name if live and live.feed else None
