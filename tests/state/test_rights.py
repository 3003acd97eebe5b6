"""The rights that the documentation names are all that Anyport needs in Redis."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.state.admission import Charges
from tests.state.counting import asker, budget, places, requests, tokens
from tests.state.replica import eventually, replica, rest
from tests.state.server import RedisServer

PAGE = Path(__file__).parents[2] / "docs/operations.md"


async def test_a_user_with_no_more_rights_than_the_page_names_can_do_all(server: RedisServer) -> None:
    named = re.search(r"`(~anyport:\* [^`]+)`", PAGE.read_text())
    assert named
    with server.admin() as admin:
        rights = named[1].replace("\\|", "|").split()
        admin.execute_command("ACL", "SETUSER", "anyport", "on", ">pass-word", "resetchannels", *rights)
    url = server.url.replace("//", "//anyport:pass-word@")
    async with replica(url) as one, replica(url) as other:
        one.state.publish(rest("a"))
        await eventually(lambda: other.ids == {"a"})
    async with replica(url) as late:
        await eventually(lambda: late.ids == {"a"})
    async with asker(url, place_seconds=0.4) as counting:
        checks = (requests(5), tokens(100, 10), places(2), budget(1000, 100))
        assert await counting.goes(*checks)
        counting.admissions.settle(counting.lease, Charges(5, 50))
        assert await counting.goes(*checks)
        with server.admin() as admin:
            admin.flushall()
            await eventually(lambda: admin.exists("anyport:admission:requests:key:a"))
        await eventually(lambda: not counting.admissions.trouble)
        assert await counting.goes(*checks)
