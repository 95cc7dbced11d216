"""The web process: Django for HTTP, Channels for the websocket."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
http = get_asgi_application()

from tasks_app.consumers import Admission, LiveConsumer  # noqa: E402 - Django must be set up first

application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": Admission(URLRouter([path("ws/live", LiveConsumer.as_asgi())])),
    }
)
