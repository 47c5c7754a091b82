# SPDX-License-Identifier: Apache-2.0
"""The customers: requests that are all under way at once."""

import asyncio
import collections

import aiohttp


async def ask(session, url, patience=120):
    """The status and the answer; 0 if the connection broke."""
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(patience)) as response:
            return response.status, await response.text()
    except aiohttp.ClientError as error:
        return 0, str(error)


def crowd(url, requests):
    """How many of the requests ended in which status."""

    async def all_at_once():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            answers = await asyncio.gather(*(ask(session, url) for _ in range(requests)))
        return collections.Counter(status for status, _ in answers)

    return asyncio.run(all_at_once())
