"""Which admin site is the project's: Django wants that said in an app's configuration."""

from django.contrib.admin.apps import AdminConfig


class SiteConfig(AdminConfig):
    default_site = "tasks_app.site.PlatformSite"
