# SPDX-License-Identifier: Apache-2.0
from django.db import migrations, models


def fill(apps, schema_editor):
    apps.get_model("shop", "Counter").objects.create()
    apps.get_model("shop", "Article").objects.create(name="riddle", stock=1_000_000)


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            name="Counter",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("value", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Article",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=40, unique=True)),
                ("stock", models.IntegerField()),
                ("sold", models.IntegerField(default=0)),
                ("token", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
