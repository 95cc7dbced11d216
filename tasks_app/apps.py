from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks_app"
    verbose_name = "Live stock platform"

    def ready(self) -> None:
        from tasks_app import signals

        signals.connect()
