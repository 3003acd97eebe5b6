"""No secret gets through, everything else does, and quickly."""

from __future__ import annotations

import base64
import json
import random
import string
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.credentials.scrub import MASK, MAX_FETCHED, Scrubber, visible
from gateway.credentials.tokens import PREFIXES
from gateway.secret import Secret

KEY = "odd/own+secret=0123456789"
TAIL = "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3dEf6hIj9kLm2nOp5q"
HEX = "0123456789abcdef" * 4

TOKENS = [
    f"sk-{TAIL}",
    f"sk-proj-{TAIL}",
    f"sk-svcacct-{TAIL}",
    f"sk-ant-api03-{TAIL}",
    f"sk-ant-oat01-{TAIL}",
    f"sk-or-v1-{HEX}",
    f"sk-kimi-{TAIL}",
    f"sk-cp-{TAIL}",
    f"sk-lf-{TAIL}",
    f"gsk_{TAIL}",
    f"hf_{TAIL}",
    f"nvapi-{TAIL}",
    f"csk-{TAIL}",
    f"fw_{TAIL}",
    f"pplx-{TAIL}",
    f"xai-{TAIL}",
    f"AIza{TAIL[:35]}",
    f"vck_{TAIL}",
    f"bce-v3/ALTAK-{TAIL[:20]}/{HEX[:40]}",
    f"tgp_v1_{TAIL}",
    f"syn_{TAIL}",
    f"r8_{TAIL}",
    f"jina_{TAIL}",
    f"tvly-{TAIL}",
    f"pcsk_{TAIL}",
    f"lsv2_pt_{HEX}",
    f"astrai_sk_{TAIL}",
    f"{HEX[:32]}.{TAIL[:16]}",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    f"ABSK{TAIL}",
    f"ya29.{TAIL}",
    f"GOCSPX-{TAIL[:28]}",
    f"AccountKey={TAIL}==",
    f"dop_v1_{HEX}",
    f"dapi{HEX[:32]}",
    f"ghp_{TAIL[:36]}",
    f"gho_{TAIL[:36]}",
    f"ghu_{TAIL[:36]}",
    f"ghs_{TAIL[:36]}",
    f"ghr_{TAIL[:36]}",
    f"github_pat_{TAIL}",
    f"glpat-{TAIL[:20]}",
    f"npm_{TAIL[:36]}",
    f"pypi-{TAIL}",
    f"dckr_pat_{TAIL[:27]}",
    f"hvs.{TAIL}",
    f"xoxb-1234567890-{TAIL[:24]}",
    f"xoxp-1234567890-{TAIL[:24]}",
    f"xapp-1-A0123-{TAIL[:24]}",
    f"https://hooks.slack.com/services/T0123/B0123/{TAIL[:24]}",
    f"https://discord.com/api/webhooks/123456789/{TAIL}",
    f"MTIzNDU2Nzg5MDEyMzQ1Njc4.GaBcDe.{TAIL[:38]}",
    f"123456789:AA{TAIL[:33]}",
    f"SG.{TAIL[:22]}.{TAIL[:43]}",
    f"sk_live_{TAIL[:24]}",
    f"rk_live_{TAIL[:24]}",
    f"whsec_{TAIL[:32]}",
    f"glsa_{TAIL[:32]}_01234567",
    f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{TAIL[:43]}",
]
FRAMES = [
    "{}",
    "Incorrect API key provided: {}. You can find your key at https://example.com/keys.",
    '{{"error":{{"message":"invalid key {}"}}}}',
    "key='{}'",
    "line\n{}\nline",
    "before\\n{}\\nafter",
    "https://h.example/v1?q=1&k={}&z=2",
    "%7B%22k%22%3A%22{}%22",
    "({})",
]


@pytest.fixture(scope="module")
def scrubber() -> Scrubber:
    return Scrubber([Secret(KEY), Secret("")])


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("token", TOKENS)
def test_what_looks_like_a_key_is_taken_out(scrubber: Scrubber, token: str, frame: str) -> None:
    text = scrubber.text(frame.format(token), limit=10_000)
    assert "***" in text
    assert token[-10:] not in text
    assert TAIL[:10] not in text
    assert HEX[:10] not in text


def test_there_are_at_least_forty_known_forms() -> None:
    assert len({prefix for prefix, _, _ in PREFIXES}) >= 40


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        quote(KEY, safe=""),
        quote(KEY),
        quote(KEY, safe="").lower(),
        json.dumps(KEY)[1:-1],
        KEY.replace("/", "\\/"),
        base64.b64encode(KEY.encode()).decode(),
        base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
    ],
)
def test_a_configured_secret_is_taken_out_in_every_form(scrubber: Scrubber, form: str) -> None:
    assert scrubber.text(f"before<{form}>after").startswith("before<***")
    assert scrubber.text(f"before<{form}>after").endswith(">after")


@pytest.mark.parametrize("user", ["", "u:", "us:", "use:", "user:"])
def test_a_configured_secret_is_found_inside_longer_base64(scrubber: Scrubber, user: str) -> None:
    text = scrubber.text("<" + base64.b64encode(f"{user}{KEY}:rest".encode()).decode() + ">")
    longest = max(base64.b64decode(part + "=" * (-len(part) % 4)) for part in text.strip("<>").split("***"))
    assert b"secret" not in longest
    assert "***" in text


def test_a_secret_with_quotes_is_found_where_json_escaped_it() -> None:
    scrubber = Scrubber([Secret('a"b\\c-secret')])
    assert scrubber.text('{"k": "a\\"b\\\\c-secret"}') == '{"k": "***"}'


def test_of_two_secrets_that_overlap_nothing_is_left() -> None:
    scrubber = Scrubber([Secret("abcdefgh"), Secret("abcdefgh-0123456789")])
    assert scrubber.text("x abcdefgh-0123456789 abcdefgh y") == "x *** *** y"


def test_a_secret_across_the_cut_is_gone_before_the_cut() -> None:
    scrubber = Scrubber([Secret(KEY)])
    for before in range(170, 215):
        text = scrubber.text("x" * before + KEY, limit=200)
        assert "own" not in text
        assert text == ("x" * before + "***" if before <= 197 else ("x" * before + "***")[:200] + "...")


def test_a_key_form_across_the_cut_is_gone_too(scrubber: Scrubber) -> None:
    for before in range(170, 205):
        assert "sk-A" not in scrubber.text(" " * before + f"sk-{TAIL}")


@pytest.mark.parametrize("length", range(8, len(KEY)))
def test_the_beginning_of_a_secret_that_somebody_cut_is_taken_off(scrubber: Scrubber, length: int) -> None:
    assert scrubber.text("cut here: " + KEY[:length]) == "cut here: ***"


def test_the_cut_counts_characters_not_bytes(scrubber: Scrubber) -> None:
    text = scrubber.text("é€😀" * 100, limit=200)
    assert text == ("é€😀" * 100)[:200] + "..."
    assert scrubber.text("é" * 200) == "é" * 200
    text.encode()


def test_what_cannot_be_encoded_does_not_stay(scrubber: Scrubber) -> None:
    assert scrubber.text("a\ud800b").encode() == b"ab"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abc", "Authorization: Bearer ***"),
        ("authorization=Basic dXNlcjpwYXNz", "authorization=Basic ***"),
        ('{"x-api-key": "short"}', '{"x-api-key": "***"}'),
        ("sent Bearer abc123def456 to", "sent Bearer *** to"),
        ("https://user:pass@host/x", "https://***host/x"),
        ("https://h/v1?key=abc123xyz&alt=sse", "https://h/v1?key=***&alt=sse"),
        ("?api_key=abc123xyz", "?api_key=***"),
        ("access_token=abc123xyz;", "access_token=***;"),
        ('"client_secret":"abc123xyz"', '"client_secret":"***"'),
        ("password: hunter22", "password: ***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- x", "*** x"),
        ("-----BEGIN PRIVATE KEY-----\nabc\ndef", "***"),
        ("Set-Cookie: session=abc; path=/", "Set-Cookie: ***; path=/"),
    ],
)
def test_a_secret_is_known_by_where_it_stands(scrubber: Scrubber, text: str, expected: str) -> None:
    assert scrubber.text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        "The model `task-oriented-dialogue-large-v2` does not exist",
        "Unexpected token: identifier at line 3",
        "Bearer authentication required",
        "Invalid type for 'messages[0].content': expected one of a string or array, but got an integer.",
        "Rate limit reached for gpt-4o in organization org-abc on tokens per min (TPM): Limit 30000, Used 29000.",
        "see https://docs.example.com/errors#rate-limits or mail a@example.com",
        "request id 7f3e2b1a-0000-4000-8000-1234567890ab",
        "Qwen/Qwen2.5-Coder-32B-Instruct is overloaded",
        "模型不存在 — é€😀",
        "",
    ],
)
def test_ordinary_messages_stay_as_they_are(scrubber: Scrubber, text: str) -> None:
    assert scrubber.text(text) == text


def test_control_characters_and_terminal_codes_go(scrubber: Scrubber) -> None:
    assert scrubber.text("\x1b[31mred\x1b[0m \x1b]0;title\x07x\x00\x08y\r\nz\tw\u202e\u200b") == "red xy z w"


def test_invisible_characters_hide_no_key(scrubber: Scrubber) -> None:
    for hidden in ("\x00", "\x1b[0m", "\u200b", "\u2060", "\x7f"):
        assert "own" not in scrubber.text(KEY[:6] + hidden + KEY[6:])
        assert "Ab3d" not in scrubber.text(f"sk-{hidden}{TAIL}")


def test_a_text_of_several_lines_keeps_them(scrubber: Scrubber) -> None:
    assert scrubber.lines(f"one {KEY}\ntwo\x00\n\nthree") == "one ***\ntwo\n\nthree"
    assert scrubber.lines("abcdef\nab", limit=4) == "abcd...\nab"
    key = f"-----BEGIN PRIVATE KEY-----\n{TAIL}\n{TAIL}\n-----END PRIVATE KEY-----"
    assert scrubber.lines(f"a\n{key}\nb") == "a\n***\nb"


def test_a_very_short_secret_does_not_eat_the_text() -> None:
    assert Scrubber([Secret("a")]).text("a bad day") == "a bad day"


def test_the_scrubber_does_not_show_what_it_knows() -> None:
    assert KEY not in repr(Scrubber([Secret(KEY)]))


_PIECES = (
    *("sk-", "sk-a ", "eyJ", "eyJa.", "\x1b[", "\x1b[0", "\x1b]", "key: ", "key=a", "key", "key    "),
    *("://", "://a", "://a:", "-----BEGIN PRIVATE KEY ", "-----BEGIN", "bearer ", "bearer a ", "authorization: "),
    *("api key provided: ", "M", "a", "0", "é", "MTIzNDU2Nzg5MDEyMzQ1Njc4.", ".abcdef0123456789", "0123456789:AA"),
    *("odd/own+secret=", "%3D", "%22M", "\\n", "\\nM", " ", "\u200b", "ghp_", "/api/webhooks/"),
)


def _adversarial() -> list[str]:
    size = 64 * 1024
    prefixes = " ".join(prefix for prefix, _, _ in PREFIXES)
    hints = f"{prefixes} key= token bearer basic :aa . -----BEGIN PRIVATE KEY :// api-key: sig eyJ "
    pieces = [*_PIECES, prefixes]
    bodies = [(piece * (size // len(piece) + 1))[:size] for piece in pieces]
    return [*bodies, *(hints + body for body in bodies[:4]), hints + "z" * size, hints * (size // len(hints))]


@pytest.mark.parametrize("text", _adversarial(), ids=lambda text: repr(text[-24:]))
def test_no_input_makes_an_expression_backtrack(scrubber: Scrubber, text: str) -> None:
    """Backtracking over 64 KiB takes minutes; a linear pass some milliseconds, on any machine."""
    assert min(_seconds(scrubber, text) for _ in range(2)) <= 1.0


def _seconds(scrubber: Scrubber, text: str) -> float:
    started = time.process_time()
    scrubber.text(text, limit=len(text))
    return time.process_time() - started


@pytest.mark.parametrize("piece", ["x", "key=a1 ", f"sk-{TAIL} ", f"{TAIL[:-1]}\n"])
def test_a_text_of_megabytes_takes_no_longer_than_its_beginning(scrubber: Scrubber, piece: str) -> None:
    text = piece * (16 * 1024 * 1024 // len(piece))
    started = time.process_time()
    shown = scrubber.text(text)
    assert time.process_time() - started <= 1.0
    assert len(shown) <= 203


@pytest.mark.parametrize("before", range(16_340, 16_390, 3))
def test_no_half_of_a_key_is_left_where_a_long_text_is_shortened(before: int) -> None:
    """The long keys vanish, so that what stands at the end of the looked-at part would be shown."""
    long_key = "sk-" + "a" * 4_000 + " "
    text = (3 * long_key + "sk-").ljust(before - 1, "b") + " " + "zq" * 20 + " " + "x" * 1000
    shown = Scrubber([Secret("zq" * 20)]).text(text, limit=300)
    assert "zq" not in shown
    assert shown.startswith("*** *** *** ***")


def test_many_secrets_and_a_short_message_are_no_work() -> None:
    random.seed(1)
    alphabet = string.ascii_letters + string.digits
    scrubber = Scrubber(Secret("".join(random.choices(alphabet, k=48))) for _ in range(100))
    message = "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."
    assert min(_seconds(scrubber, message) for _ in range(20)) <= 0.1


@given(st.text(max_size=60), st.text(max_size=60), st.integers(0, 300))
def test_whatever_stands_around_it_a_secret_is_gone(before: str, after: str, limit: int) -> None:
    text = Scrubber([Secret(KEY)]).text(before + KEY + after, limit=limit)
    assert KEY not in text
    assert len(text) <= limit + 3
    text.encode()


@given(st.text(max_size=200))
def test_what_is_visible_stays_one_line_that_can_be_encoded(text: str) -> None:
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()


def test_a_secret_that_came_later_is_taken_out_like_the_others() -> None:
    scrubber = Scrubber([Secret("first-key-of-all")])
    assert "opaque0token" in scrubber.text("said opaque0token")
    scrubber.add(Secret("opaque0token"))
    scrubber.add(Secret("opaque0token"))
    assert scrubber.text("said opaque0token and first-key-of-all") == f"said {MASK} and {MASK}"
    scrubber.add(Secret("abc"))
    assert scrubber.text("said abc") == "said abc", "too short to be looked for"


def test_tokens_that_are_fetched_for_years_do_not_fill_the_memory() -> None:
    scrubber = Scrubber([Secret("first-key-of-all")])
    for number in range(MAX_FETCHED + 1):
        scrubber.add(Secret(f"opaque0token{number:04}"))
    assert repr(scrubber) == f"Scrubber({MAX_FETCHED + 1} secrets)"
    assert MASK in scrubber.text(f"said opaque0token{MAX_FETCHED:04}")
    assert scrubber.text("said opaque0token0000 and first-key-of-all") == f"said opaque0token0000 and {MASK}"
