from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tasks_app", "0005_schedules")]

    operations = [
        migrations.AddField(
            model_name="feed",
            name="keep_days",
            field=models.PositiveIntegerField(
                blank=True, help_text="Days of its history to keep, the newest counted; all when empty", null=True
            ),
        ),
        migrations.AddField(
            model_name="feed",
            name="keep_mb",
            field=models.PositiveIntegerField(
                blank=True, help_text="MB of its history to keep, the newest day in any case; all when empty", null=True
            ),
        ),
    ]
