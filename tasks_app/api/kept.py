"""What tasks that keep their results said, over HTTP: in pages of JSON, or a row per stock as a file."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from processors.history.export import FORMATS
from tasks_app import history, services
from tasks_app.api import history_shapes as shapes
from tasks_app.api.history import FILES, streamed
from tasks_app.api.views import task_of, whole

_LIMIT, _MOST = 600, 5_000


class KeptDaysView(APIView):
    @extend_schema(operation_id="kept_days", responses=shapes.KeptDay(many=True))
    def get(self, request: Request, pk: int) -> Response:
        """Of which days results of a task are kept, oldest first."""
        return Response([asdict(day) for day in history.archive().days(task_of(pk).pk)])


class KeptView(APIView):
    @extend_schema(
        operation_id="kept_results",
        parameters=[
            OpenApiParameter("start", str, description="first moment: ms since 1970, or ISO, local to the task's feed"),
            OpenApiParameter("end", str, description="moment before which to end"),
            OpenApiParameter("after", int, description="json: number of the last result that you have"),
            OpenApiParameter("limit", int, description=f"json: results, 1 to {_MOST}; {_LIMIT} unless told"),
            OpenApiParameter("as", str, enum=["json", *FORMATS], description="else a row per stock, all, streamed"),
        ],
        responses={(200, "application/json"): shapes.KeptPage, **FILES},
    )
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        """Kept results of a task, in the order of their snapshots' numbers."""
        task, asked = task_of(pk), request.query_params
        zone = task.feed.zone if task.feed else "UTC"
        start, end = history.between(zone, asked.get("start"), asked.get("end"))
        kind = asked.get("as") or "json"
        if kind in FORMATS:
            return streamed(history.archive().stocks(task.pk, start, end), kind, f"task-{task.pk}-stocks")
        if kind != "json":
            raise services.Invalid({"as": [f"{kind!r}: expected one of json, {', '.join(FORMATS)}"]})
        limit, after = whole(request, "limit", 1, _MOST, _LIMIT), whole(request, "after", 0, 2**62)
        return Response(_page(task.pk, start, end, after, limit))


def _page(task: int, start: int, end: int, after: int, limit: int) -> dict[str, Any]:
    found = list(islice(history.archive().read(task, start, end, after=after, stocks=False), limit + 1))
    results = [{"seq": each.seq, "numbers": each.numbers} for each in found[:limit]]
    return {"results": results, "next": results[-1]["seq"] if len(found) > limit else None}
