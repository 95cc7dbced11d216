from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tasks_app", "0007_keep"),
    ]

    operations = [
        migrations.CreateModel(
            name="Instrument",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "calendar",
                    models.CharField(
                        default="XSHG", help_text="Market: exchange_calendars name, or 24/7", max_length=16
                    ),
                ),
                ("code", models.CharField(max_length=32)),
                ("name", models.CharField(max_length=100)),
                ("sector", models.CharField(blank=True, max_length=100)),
                (
                    "tick_size",
                    models.DecimalField(
                        blank=True, decimal_places=6, help_text="In currency", max_digits=12, null=True
                    ),
                ),
                ("lot_size", models.PositiveIntegerField(blank=True, help_text="Shares of a lot", null=True)),
                ("listed", models.DateField(blank=True, help_text="First day of trading", null=True)),
                (
                    "delisted",
                    models.DateField(blank=True, help_text="Day from which it is not traded any more", null=True),
                ),
            ],
            options={
                "ordering": ["code", "calendar"],
                "constraints": [
                    models.UniqueConstraint(fields=("calendar", "code"), name="a_code_is_a_markets_own"),
                    models.CheckConstraint(
                        condition=models.Q(("tick_size__isnull", True), ("tick_size__gt", 0), _connector="OR"),
                        name="instrument_tick_size_positive",
                    ),
                ],
            },
        ),
    ]
