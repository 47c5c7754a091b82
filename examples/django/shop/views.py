# SPDX-License-Identifier: Apache-2.0
"""Views that read, compute and write, without select_for_update(): the lock is all they have."""

import contextlib
import time

from django.conf import settings
from django.http import JsonResponse

from lockbyfile import LeaseLost
from lockbyfile.django import db_lock
from shop import stage
from shop.models import Article, Counter

# Made before the server forks. SHOP_LOCKS=no shows what happens without.
lock = db_lock() if settings.SHOP_LOCKS else contextlib.nullcontext()


def count(request):
    """One more."""
    asked = time.monotonic()
    with lock as grant:
        granted = time.monotonic()
        counter = Counter.objects.get()
        counter.value = think(counter.value + 1)
        counter.save()
        stage.note(asked, granted, grant)
    return JsonResponse({"value": counter.value})


def buy(request):
    """One less in stock. The row has the token of its last writer, and refuses a late one."""
    asked = time.monotonic()
    written = 0
    with contextlib.suppress(LeaseLost):  # whether it was written decides
        with lock as grant:
            granted = time.monotonic()
            article = Article.objects.get(name="riddle")
            if article.stock < 1:
                return JsonResponse({"error": "sold out"}, status=410)
            token = grant.token if settings.SHOP_LOCKS and settings.SHOP_FENCES else 0
            older = {"token__lte": token} if token else {}
            written = Article.objects.filter(pk=article.pk, **older).update(
                stock=think(article.stock - 1), sold=article.sold + 1, token=token
            )
            stage.note(asked, granted, grant)
    if not written:
        return JsonResponse({"error": "somebody with a later token was here"}, status=409)
    return JsonResponse({"stock": article.stock - 1})


def stock(request):
    article = Article.objects.get(name="riddle")
    return JsonResponse(
        {"value": Counter.objects.get().value, "stock": article.stock, "sold": article.sold}
    )


def think(result):
    """Computes, for a millisecond; and gets stuck in it if that is in the play."""
    stage.stop_if_asked()
    time.sleep(0.001)
    return result
