# SPDX-License-Identifier: Apache-2.0
"""What arguments may be."""

from __future__ import annotations

import datetime
import os
from typing import Union

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
"""The name of a lock, or a directory."""

Duration = Union[float, datetime.timedelta, None]
"""Seconds or a timedelta; None is forever."""
