"""Reads a status page by a client that others wrote, and prints what it made of it."""

import asyncio
import json
import os

from arez import StatusPage


async def main() -> None:
    async with StatusPage(os.environ["PAGE"]) as page:
        now = await page.get_status()
    found = {
        "status": now.status,
        "impact": now.impact,
        "components": {
            c.name: [c.status, c.group.name if c.group else "", [i.name for i in c.incidents]]
            for c in now.components
        },
        "incidents": {
            i.name: [i.status, i.impact, [u.status for u in i.updates]] for i in now.incidents
        },
        "maintenances": {
            m.name: [m.scheduled_for.isoformat(), m.scheduled_until.isoformat()]
            for m in now.maintenances
        },
    }
    print(json.dumps(found))


asyncio.run(main())
