"""The web process: Django for HTTP, Channels for the websocket."""

import gc
import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import get_resolver, path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
http = get_asgi_application()

from django.conf import settings  # noqa: E402 - Django must be set up first

from tasks_app.bounds import bounded  # noqa: E402
from tasks_app.consumers import Admission, LiveConsumer  # noqa: E402

BODY_BYTES = 4 * 2**20


def limit(path: str) -> int:
    return settings.UPLOAD_BYTES if path == "/api/uploads" else BODY_BYTES


application = ProtocolTypeRouter(
    {
        "http": bounded(http, limit),
        "websocket": Admission(URLRouter([path("ws/live", LiveConsumer.as_asgi())])),
    }
)

# Else a collection looks through all that was imported, once a minute or so: 240 ms in which no client is told a thing.
_ = get_resolver().url_patterns  # imports the views
gc.freeze()
