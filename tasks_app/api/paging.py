"""How lists come in pages."""

from __future__ import annotations

from typing import Any

from rest_framework.pagination import PageNumberPagination


class Pages(PageNumberPagination):
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        found = super().get_paginated_response_schema(schema)
        for name in ("next", "previous"):  # DRF speaks OpenAPI 3.0 here, where null was another word
            found["properties"][name].pop("nullable")
            found["properties"][name]["type"] = ["string", "null"]
        return found
