"""A bot that answers `/ask`: a real gateway, a Discord on loopback with real signatures, a model that writes slowly."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import build_app
from tests.http.events import Listener
from tests.integrations.fake_discord import APPLICATION, BOT_TOKEN, FakeDiscord, Told, post, running_discord, words
from tests.security.house import ADMIN_KEY, House

PLAIN_KEY = "plain-canary-0123456789"
GUILD, POOR, HASTY, LOST, STRANGE = "11", "12", "13", "14", "99"
PRICE = {"input_usd_per_million": 1_000_000, "output_usd_per_million": 1_000_000}


def configuration(fake: FakeDiscord, **more: Any) -> dict[str, Any]:
    guilds = {GUILD: {"key": "guild"}, POOR: {"key": "poor"}, HASTY: {"key": "hasty"}, LOST: {"key": "no-such-key"}}
    return {
        "server": {"api_keys": [PLAIN_KEY], "access_log": "access.log"},
        "discovery": {"enabled": False},
        "admin": {"port": 0, "key": ADMIN_KEY},
        "providers": {name: {"base_url": f"{fake.url}/v1", "requires_credential": False} for name in ("mine", "ill")},
        "routes": {
            name: {"deployments": [{"model": model, "price": PRICE}]}
            for name, model in {"fast": "mine/m", "smart": "mine/m", "broken": "ill/m"}.items()
        },
        "integrations": {
            "discord": {
                "application_id": APPLICATION,
                "public_key": fake.public_key,
                "model": "fast",
                "models": ["fast", "smart", "broken"],
                "guilds": guilds,
                "api_base": f"{fake.url}/api",
            }
        },
        **more,
    }


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeDiscord]:
    with running_discord() as one:
        yield one


@pytest.fixture(scope="module")
def gateway(fake: FakeDiscord, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("discord"), configuration(fake))
    house.made("keys", name="guild", keeps_content=True)
    house.made("keys", name="poor", budgets=[{"usd": "0.01", "window": "month"}])
    house.made("keys", name="hasty", limits={"requests_per_minute": 1})
    yield house
    assert house.process.stop() == 0, house.process.errors
    said = house.process.errors + (house.directory / "access.log").read_text()
    assert not any(each in said for each in ("Traceback", "token-5", "word0", "pieces")), said


def recorded(gateway: House, key: str) -> list[dict[str, Any]]:
    """Returns the records of a key's requests once there is one."""
    (id,) = (each["id"] for each in gateway.admin("GET", "/admin/keys").json["data"] if each["name"] == key)
    deadline = time.monotonic() + 20
    while True:
        said = gateway.admin("GET", f"/admin/requests?key={id}").json
        if said.get("data") or time.monotonic() > deadline:
            return said["data"]
        time.sleep(0.05)


def begun(told: Told) -> None:
    """Waits until a message begins to be written."""
    deadline = time.monotonic() + 20
    while not told.texts:
        assert time.monotonic() < deadline, told.calls
        time.sleep(0.02)


def test_a_ping_is_answered_with_a_pong_and_needs_no_clients_key(fake: FakeDiscord, gateway: House) -> None:
    body = json.dumps({"type": 1, "id": "1", "application_id": APPLICATION, "token": "x", "version": 1}).encode()
    before = len(fake.calls)
    assert post(gateway.port, body, fake.signed(body)) == (200, {"type": 1})
    assert len(fake.calls) == before
    assert gateway.client("GET", "/v1/models").status == 401


@pytest.mark.parametrize("wrong", ["a blank more", "none", "no number", "another key", "too old", "of the future"])
def test_what_discord_has_not_signed_just_now_is_refused(fake: FakeDiscord, gateway: House, wrong: str) -> None:
    told, body = fake.interaction(GUILD, {"pieces": ["never"]})
    ages = {"too old": -330.0, "of the future": 330.0}
    headers = fake.signed(body, time.time() + ages.get(wrong, 0.0))
    if wrong == "another key":
        with running_discord() as other:
            headers = other.signed(body)
    elif wrong == "none":
        headers = {}
    elif wrong == "no number":
        headers["x-signature-timestamp"] = "soon"
    status, said = post(gateway.port, body + b" " * (wrong == "a blank more"), headers)
    assert (status, said["error"]["code"]) == (401, "invalid_signature")
    assert told.calls == []


def test_a_question_is_answered_later_as_a_request_of_the_guilds_key(fake: FakeDiscord, gateway: House) -> None:
    told = fake.ask(gateway.port, GUILD, {"pieces": ["Hello, ", "@everyone", "!"]})
    assert (told.status, told.reply) == (200, {"type": 5})
    assert told.seconds < 3
    assert fake.wait(told, "!") == ["Hello, @everyone!"]
    (record, *_) = recorded(gateway, "guild")
    assert (record["route"], record["status"], record["stream"]) == ("fast", 200, True)
    assert (record["input_tokens"], record["output_tokens"], record["cost_usd"]) == (10, 20, "30")
    whole = gateway.admin("GET", f"/admin/requests/{record['id']}").json
    assert "@everyone" in json.dumps(whole["content"])
    for call in told.calls:
        assert call.body["allowed_mentions"] == {"parse": []}
        assert call.headers["user-agent"].startswith(
            f"DiscordBot (https://discord.com/developers/applications/{APPLICATION}, "
        )
        assert "authorization" not in call.headers


def test_an_answer_is_shown_while_it_is_written_within_discords_limits(fake: FakeDiscord, gateway: House) -> None:
    told = fake.ask(gateway.port, GUILD, {"pieces": words(36), "gap": 0.1}, model="smart")
    texts = fake.wait(told, "word00035")
    assert texts == ["".join(words(36)).strip()]
    written = [call.body["content"] for call in told.calls if call.status == 200]
    assert 3 <= len(written) <= 10
    assert all(later.startswith(earlier.strip()) for earlier, later in pairwise(written))
    assert 429 not in [call.status for call in told.calls]
    assert {record["route"] for record in recorded(gateway, "guild")} >= {"smart"}


def test_a_long_answer_becomes_several_messages_of_2000_characters_at_most(fake: FakeDiscord, gateway: House) -> None:
    told = fake.ask(gateway.port, GUILD, {"pieces": [*words(450), "end"]}, private=True)
    assert told.reply == {"type": 5, "data": {"flags": 64}}
    texts = fake.wait(told, "end")
    assert len(texts) == 3
    assert " ".join(texts) == "".join(words(450)) + "end"
    assert next(call.method for call in told.calls if call.status == 200) == "PATCH"
    assert [call.body.get("flags") for call in told.calls if call.method == "POST"] == [64, 64]


def test_a_pause_that_discord_asks_for_is_kept_and_what_it_loses_is_sent_again(
    fake: FakeDiscord, gateway: House
) -> None:
    told, body = fake.interaction(GUILD, {"pieces": ["done"]})
    limited = {"message": "You are being rate limited.", "retry_after": 0.7, "global": False}
    told.refusals = [(429, {}, limited), (502, {}, {})]
    assert fake.wait(fake.send(gateway.port, told, body), "done") == ["done"]
    answered = [call for call in told.calls if call.status != 404]
    assert [call.status for call in answered] == [429, 502, 200]
    assert answered[1].at - answered[0].at >= 0.7


def test_an_interaction_that_comes_twice_is_answered_once(fake: FakeDiscord, gateway: House) -> None:
    told, body = fake.interaction(GUILD, {"pieces": ["once"]})
    fake.send(gateway.port, told, body)
    fake.wait(told, "once")
    calls = len(told.calls)
    assert fake.send(gateway.port, told, body).reply == {"type": 5}
    later = fake.ask(gateway.port, GUILD, {"pieces": ["later"]})
    fake.wait(later, "later")
    assert len(told.calls) == calls


@pytest.mark.parametrize(
    ("guild", "options", "said"),
    [
        (STRANGE, {}, "not set up to answer here"),
        (None, {}, "not set up to answer here"),
        (GUILD, {"model": "mine/other"}, "cannot be chosen here"),
        (GUILD, {"prompt": "  "}, "write what you want to know"),
    ],
)
def test_what_cannot_be_asked_is_said_at_once_to_who_has_asked_alone(
    fake: FakeDiscord, gateway: House, guild: str | None, options: dict[str, str], said: str
) -> None:
    told = fake.ask(gateway.port, guild, **{"prompt": "hello", **options})
    assert (told.reply["type"], told.reply["data"]["flags"]) == (4, 64)
    assert said in told.reply["data"]["content"]
    assert told.calls == []


@pytest.mark.parametrize(
    ("guild", "order", "said"),
    [
        (POOR, {"pieces": ["never"]}, "The budget for this place is used up."),
        (LOST, {"pieces": ["never"]}, "I am not set up to answer here."),
        (GUILD, {"status": 400}, "The model's provider does not take this question."),
        (GUILD, {"pieces": ["Half an answer"], "breaks": True}, "The model does not answer just now."),
        (GUILD, {"status": 401}, "The model does not answer just now."),
    ],
)
def test_an_error_is_told_politely_and_without_what_is_inside(
    fake: FakeDiscord, gateway: House, guild: str, order: dict[str, Any], said: str
) -> None:
    told = fake.ask(gateway.port, guild, order, model="broken")
    (text,) = fake.wait(told, "`)")
    assert said in text
    assert text.startswith("Half an answer\n\n*") == ("breaks" in order)
    for inner in ("canary", "mine", "127.0.0.1", "invalid_api_key", "no-such-key"):
        assert inner not in text


def test_limits_of_a_guilds_key_hold(fake: FakeDiscord, gateway: House) -> None:
    fake.wait(fake.ask(gateway.port, HASTY, {"pieces": ["first"]}), "first")
    (text,) = fake.wait(fake.ask(gateway.port, HASTY, {"pieces": ["second"]}), "`)")
    assert "Too many questions at once. Please try again in " in text


def test_a_question_is_in_flight_and_listeners_hear_of_its_end(fake: FakeDiscord, gateway: House) -> None:
    listener = Listener(gateway.admin_port, ADMIN_KEY)
    told = fake.ask(gateway.port, GUILD, {"pieces": words(5), "gap": 0.2})
    begun(told)
    assert in_flight(gateway) == 1
    fake.wait(told, "word00004")
    event = listener.wait_for("request", lambda data: data["operation"] == "chat")
    assert (event.data["model"], event.data["key"], event.data["status"]) == ("fast", "guild", 200)
    listener.close()
    assert in_flight(gateway) == 0


def in_flight(gateway: House) -> int:
    text = gateway.client("GET", "/metrics", key=PLAIN_KEY).body.decode()
    (found,) = re.findall(r"^anyport_requests_in_flight (\d+)", text, re.MULTILINE)
    return int(found)


def test_a_message_that_was_deleted_ends_the_request(fake: FakeDiscord, gateway: House) -> None:
    told = fake.ask(gateway.port, GUILD, {"pieces": words(600), "gap": 0.1})
    begun(told)
    told.refusals = [(404, {}, {"message": "Unknown Message", "code": 10008})] * 9
    log = gateway.directory / "access.log"
    deadline = time.monotonic() + 20
    while '"cancelled":true' not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.05)
    assert len(told.refusals) == 8


def test_another_configuration_is_served_while_an_answer_goes_on(fake: FakeDiscord, gateway: House) -> None:
    told = fake.ask(gateway.port, GUILD, {"pieces": words(15), "gap": 0.1})
    file = gateway.directory / "anyport.yaml"
    before = file.read_text()
    changed = configuration(fake)
    changed["integrations"]["discord"]["elsewhere"] = {"key": "guild", "model": "smart"}
    file.write_text(json.dumps(changed))
    try:
        assert gateway.admin("POST", "/admin/reload").status == 200
        assert fake.wait(fake.ask(gateway.port, None, {"pieces": ["new"]}), "new") == ["new"]
        assert fake.wait(told, "word00014") == ["".join(words(15)).strip()]
    finally:
        file.write_text(before)
        assert gateway.admin("POST", "/admin/reload").status == 200


def test_at_the_end_of_the_process_short_answers_end_and_long_ones_are_told_so(
    fake: FakeDiscord, tmp_path: Path
) -> None:
    config = configuration(fake, admin={}, server={"grace_seconds": 2, "access_log": "off"})
    config["integrations"]["discord"] |= {"guilds": {GUILD: {}}}
    house = House(tmp_path, config)
    short = fake.ask(house.port, GUILD, {"pieces": words(8), "gap": 0.1})
    long = fake.ask(house.port, GUILD, {"pieces": words(600), "gap": 0.1})
    begun(long)
    assert house.process.stop() == 0, house.process.errors
    assert short.texts == ["".join(words(8)).strip()]
    assert long.texts[-1].endswith("I am being restarted. Please ask again in a moment.*")
    assert "Traceback" not in house.process.errors


def run(directory: Path, fake: FakeDiscord, *arguments: str, token: str = BOT_TOKEN) -> Result:
    file = directory / "anyport.yaml"
    file.write_text(json.dumps(configuration(fake)))
    environ = {"DISCORD_BOT_TOKEN": token, "ANYPORT_DATA_DIR": str(directory)}
    return CliRunner().invoke(build_app(), ["discord", *arguments, "--config", str(file)], env=environ)


def test_whoami_shows_the_bot_and_its_guilds(fake: FakeDiscord, tmp_path: Path) -> None:
    result = run(tmp_path, fake, "whoami")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["user", "helper"] in lines
    assert ["11", "First", "guild", "yes", "guild"] in lines
    assert ["99", "Other", "guild", "no", "-"] in lines
    said = json.loads(run(tmp_path, fake, "whoami", "--json").stdout)
    assert said["user"] == {"id": "42", "username": "helper", "bot": True}
    assert fake.calls[-1].headers["authorization"] == f"Bot {BOT_TOKEN}"


def test_register_tells_discord_of_the_command_for_all_or_for_one_guild(fake: FakeDiscord, tmp_path: Path) -> None:
    assert run(tmp_path, fake, "register").exit_code == 0
    call = fake.calls[-1]
    assert (call.method, call.path) == ("POST", f"/api/applications/{APPLICATION}/commands")
    assert call.body["name"] == "ask"
    prompt, model, private = call.body["options"]
    assert (prompt["name"], prompt["required"], prompt["type"]) == ("prompt", True, 3)
    assert [each["value"] for each in model["choices"]] == ["fast", "smart", "broken"]
    assert (private["name"], private["type"]) == ("private", 5)
    assert run(tmp_path, fake, "register", "--guild", GUILD).exit_code == 0
    assert fake.calls[-1].path == f"/api/applications/{APPLICATION}/guilds/{GUILD}/commands"


def test_a_token_that_discord_does_not_know_is_named_and_shown_nowhere(fake: FakeDiscord, tmp_path: Path) -> None:
    result = run(tmp_path, fake, "whoami", token="wrong-canary-0123456789")
    assert result.exit_code == 1
    assert "Discord refuses with 401: 401: Unauthorized; is DISCORD_BOT_TOKEN the token of this bot?" in result.output
    missing = run(tmp_path, fake, "whoami", token="")
    assert missing.exit_code == 2
    assert "set DISCORD_BOT_TOKEN" in missing.output
    assert "canary" not in result.output + missing.output
