"""Where requests go: the admin, the API, and the front end for every page of its own."""

from django.contrib import admin
from django.urls import include, path, re_path

from tasks_app import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("tasks_app.api.urls")),
    re_path(r"^(?!api/|admin/|static/|ws/).*$", views.page, name="page"),
]
handler404 = "tasks_app.api.problems.not_found"
handler500 = "tasks_app.api.problems.failed"
