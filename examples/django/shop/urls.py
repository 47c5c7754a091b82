# SPDX-License-Identifier: Apache-2.0
from django.urls import path

from shop import views

urlpatterns = [
    path("count", views.count),
    path("buy", views.buy),
    path("", views.stock),
]
