"""Wiring only. Importing it makes the Celery application the one that jobs are sent by, in every process."""

from platform_site.celery import app as celery_app

__all__ = ["celery_app"]
