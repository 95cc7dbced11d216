from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView
from rest_framework.routers import SimpleRouter

from tasks_app.api import views

router = SimpleRouter(trailing_slash=False)
router.register("processors", views.ProcessorViewSet)
router.register("feeds", views.FeedViewSet)
router.register("tasks", views.TaskViewSet)

urlpatterns = [
    path("session", views.SessionView.as_view()),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("", include(router.urls)),
]
