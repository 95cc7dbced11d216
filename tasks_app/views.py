"""The one page that Django serves itself: the front end, which does its own routing."""

from __future__ import annotations

from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe


@require_safe
@never_cache
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_index())


@cache
def _index() -> bytes:
    path = settings.FRONTEND_DIST / "index.html"
    if not path.is_file():
        return b"<!doctype html><title>Live stock platform</title><p>The front end is not built yet: run bin/up."
    return path.read_bytes()
