from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView
from rest_framework.routers import SimpleRouter

from tasks_app.api import history, kept, original, views
from tasks_app.api.uploads import UploadViewSet

router = SimpleRouter(trailing_slash=False)
router.register("processors", views.ProcessorViewSet)
router.register("feeds", views.FeedViewSet)
router.register("instruments", views.InstrumentViewSet)
router.register("tasks", views.TaskViewSet)
router.register("schedules", views.ScheduleViewSet)
router.register("tokens", views.TokenViewSet)
router.register("audit", views.AuditViewSet)
router.register("uploads", UploadViewSet, basename="upload")

api: list[URLPattern | URLResolver] = [
    path("session", views.SessionView.as_view()),
    path("tickets", views.TicketView.as_view()),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("asyncapi", views.AsyncApiView.as_view()),
    path("tasks/<int:pk>/kept", kept.KeptView.as_view()),
    path("tasks/<int:pk>/kept/days", kept.KeptDaysView.as_view()),
    path("history/feeds", history.HistoryFeedsView.as_view()),
    path("history/feeds/<str:name>/days", history.CoverageView.as_view()),
    path("history/feeds/<str:name>/rows", history.RowsView.as_view()),
    path("history/feeds/<str:name>/bars", history.BarsView.as_view()),
    path("", include(router.urls)),
]
urlpatterns = [
    path("api/", include(api)),
    path("metrics", views.MetricsView.as_view()),
    path("demo", original.Demo.as_view()),
    path("add_task", original.AddTask.as_view()),
    path("stop_oltp_processor", original.StopProcessor.as_view()),
    path("get_curr_oltp_result", original.CurrentResult.as_view()),
    path("reload_cfg", original.ReloadCfg.as_view()),
]
