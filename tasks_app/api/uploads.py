"""Files of ticks through the API: brought as the body of a request, looked at, replayed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.request import Request
from rest_framework.response import Response

from tasks_app import uploads
from tasks_app.api.serializers import TaskSerializer, example
from tasks_app.models import Feed
from tasks_app.roles import May

_PART = 2**20


class RawBody(BaseParser):
    """The body as it came, to be read in parts."""

    media_type = "application/octet-stream"

    def parse(self, stream: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> Any:
        return stream


_MAPPING = {"time": "datetime", "code": "wind_code", "price": "last", "volume": "vol", "amount": "turnover"}
_LOOK = {
    "id": "9f86d081884c7d65",
    "name": "ticks.csv",
    "size": 1048576,
    "columns": list(_MAPPING.values()),
    "rows": [["2021-12-01 09:30:03", "600519", "1930.00", "300", "579000.0"]],
    "mapping": _MAPPING,
    "required": ["time", "code", "price", "volume", "amount"],
    "optional": ["change", "type", "bid", "ask", "bid_size", "ask_size"],
    "inferred": {"zone": "Asia/Shanghai", "calendar": "XSHG", "interval_ms": 3000},
    "said": ["calendar XSHG: codes such as 600519 have six digits (A-shares)."],
    "error": "",
}


@example("A file with a header of its own", _LOOK)
class LookSerializer(serializers.Serializer):
    id = serializers.CharField()
    name = serializers.CharField()
    size = serializers.IntegerField(help_text="bytes")
    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.ListField(child=serializers.ListField(child=serializers.CharField()), help_text="the first few")
    mapping = serializers.DictField(child=serializers.CharField(), help_text="field → column, as suggested or asked")
    required = serializers.ListField(  # type: ignore[assignment]
        child=serializers.CharField(), help_text="fields that need a column"
    )
    optional = serializers.ListField(child=serializers.CharField(), help_text="fields that may have one")
    inferred = serializers.DictField(help_text="fields of a feed, from the numbers; empty where there is an error")
    said = serializers.ListField(child=serializers.CharField(), help_text="why each of them")
    error = serializers.CharField(allow_blank=True, help_text="why nothing could be inferred with this mapping")


@example("Another mapping", {"mapping": _MAPPING}, request_only=True)
class LookRequest(serializers.Serializer):
    mapping = serializers.DictField(child=serializers.CharField())


class SpecSerializer(serializers.ModelSerializer):
    name = serializers.CharField(max_length=64)  # what is wrong with it is told by the service

    class Meta:
        model = Feed
        fields = ["name", "title", "zone", "calendar", "interval_ms", "volume_unit", "lot_size", "volume_mode",
                  "type_meaning"]  # fmt: skip


@example(
    "As suggested, ten times faster",
    {"mapping": _MAPPING, "spec": {"name": "mine", "zone": "Asia/Shanghai", "interval_ms": 3000}, "pace": 10.0},
    request_only=True,
)
class ReplayRequest(serializers.Serializer):
    mapping = serializers.DictField(child=serializers.CharField())
    spec = SpecSerializer()
    pace = serializers.FloatField(min_value=0, default=1.0, help_text="times real time; 0: as fast as read")
    loop = serializers.BooleanField(default=False)


class UploadViewSet(viewsets.ViewSet):
    """Files of ticks that somebody brought."""

    needs = dict.fromkeys(("create", "look", "replay", "destroy"), May.RUN)
    parser_classes = [RawBody, JSONParser]
    lookup_value_regex = "[0-9a-f]+"

    @extend_schema(
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses={201: LookSerializer},
        parameters=[OpenApiParameter("name", str, required=True, description="of the file, with its ending")],
    )
    def create(self, request: Request) -> Response:
        """Bring a file (CSV, gzip, zip, Parquet) as the body; it is looked at, and a mapping suggested."""
        body = request._request
        chunks = iter(lambda: body.read(_PART), b"")
        found = uploads.store(request.query_params.get("name", ""), chunks, user=request.user)
        return Response(found.as_json(), status=201)

    @extend_schema(responses=LookSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """What is in an upload, with the suggested mapping."""
        return Response(uploads.look(pk).as_json())

    @extend_schema(request=LookRequest, responses=LookSerializer)
    @action(detail=True, methods=["post"])
    def look(self, request: Request, pk: str) -> Response:
        """What is in an upload by another mapping."""
        given = LookRequest(data=request.data)
        given.is_valid(raise_exception=True)
        return Response(uploads.look(pk, given.validated_data["mapping"]).as_json())

    @extend_schema(request=ReplayRequest, responses={201: TaskSerializer})
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Make a feed that replays an upload, with the mapping saved in it, and start it."""
        given = ReplayRequest(data=request.data)
        given.is_valid(raise_exception=True)
        task = uploads.replay(pk, **given.validated_data, user=request.user)
        return Response(TaskSerializer(task).data, status=201)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete an upload that no feed replays."""
        uploads.delete(pk, user=request.user)
        return Response(status=204)
