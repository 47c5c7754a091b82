# SPDX-License-Identifier: Apache-2.0
"""A shop. What differs between two runs of it comes from the environment."""

import os
from pathlib import Path

DATA = Path(os.environ.get("SHOP_DATA", Path(__file__).resolve().parent.parent))

SECRET_KEY = "of an example"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
INSTALLED_APPS = ["lockbyfile.django", "shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

if os.environ.get("SHOP_DATABASE") == "postgresql":
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": DATA,  # the directory of its socket
            "USER": "shop",
            "NAME": "postgres",
            "CONN_MAX_AGE": None,
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATA / "shop.sqlite3",
            "OPTIONS": {"timeout": 60},
            "CONN_MAX_AGE": None,
        }
    }

LOCKBYFILE = {
    "DIR": DATA,
    "TIMEOUT": float(os.environ.get("SHOP_TIMEOUT", 10)),
    "PATIENCE": 60,
}
SHOP_LOCKS = os.environ.get("SHOP_LOCKS", "yes") == "yes"
SHOP_FENCES = os.environ.get("SHOP_FENCES", "yes") == "yes"
