"""The Celery application. Jobs live in ``tasks_app.jobs``, so that "task" always means the domain's task."""

import os

import django
from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

app = Celery("platform_site")
app.conf.update(settings.CELERY)
app.autodiscover_tasks(["tasks_app"], related_name="jobs")
