"""The Celery application. Jobs live in ``tasks_app.jobs``, so that "task" always means the domain's task."""

import os
import warnings

from celery import Celery
from celery.exceptions import SecurityWarning

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")

# In a container all is root; messages are JSON, which runs nothing.
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("platform_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["tasks_app"], related_name="jobs")
