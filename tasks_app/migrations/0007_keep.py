from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tasks_app", "0006_retention")]

    operations = [
        migrations.AddField(
            model_name="feed",
            name="keep_raw",
            field=models.BooleanField(
                default=False,
                help_text="Ticks go to the history as well, beside the snapshots made of them, by db_store",
            ),
        ),
        migrations.AddField(
            model_name="task",
            name="keep",
            field=models.BooleanField(
                default=False, help_text="Its results are kept, to be looked at and judged later"
            ),
        ),
    ]
