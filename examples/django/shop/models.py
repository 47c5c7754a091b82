# SPDX-License-Identifier: Apache-2.0
from django.db import models


class Counter(models.Model):
    value = models.BigIntegerField(default=0)


class Article(models.Model):
    name = models.CharField(max_length=40, unique=True)
    stock = models.IntegerField()
    sold = models.IntegerField(default=0)
    token = models.BigIntegerField(default=0)  # of the grant under which it was written last
