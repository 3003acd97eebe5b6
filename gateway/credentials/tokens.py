"""What credentials of well-known services look like, to take them out of texts that we did not write.

Every expression is linear in the text by construction: it begins with a literal, followed by one run of one
character class that takes all it can get and gives nothing back.
"""

from __future__ import annotations

import re
from typing import Final

WORD: Final = r"[A-Za-z0-9_-]"
DOTTED: Final = r"[A-Za-z0-9_.-]"
BASE64: Final = r"[A-Za-z0-9_+/=.~-]"

PREFIXES: Final[tuple[tuple[str, int, str], ...]] = (
    # Model vendors and hosts; `sk-` is OpenAI, Anthropic, DeepSeek, Moonshot, OpenRouter, SiliconFlow, ...
    ("sk-", 16, WORD),
    ("pk-lf-", 16, WORD),
    ("gsk_", 16, WORD),
    ("hf_", 16, WORD),
    ("nvapi-", 16, WORD),
    ("csk-", 16, WORD),
    ("fw_", 16, WORD),
    ("pplx-", 16, WORD),
    ("xai-", 16, WORD),
    ("tgp_v1_", 16, WORD),
    ("syn_", 16, WORD),
    ("vck_", 16, WORD),
    ("r8_", 16, WORD),
    ("rpa_", 16, WORD),
    ("jina_", 16, WORD),
    ("tvly-", 16, WORD),
    ("pcsk_", 16, WORD),
    ("lsv2_", 16, WORD),
    ("esecret_", 16, WORD),
    ("astrai_sk_", 8, WORD),
    ("bce-v3/", 16, r"[A-Za-z0-9_/-]"),
    # Clouds.
    ("AKIA", 12, r"[A-Z0-9]"),
    ("ASIA", 12, r"[A-Z0-9]"),
    ("ABSK", 40, BASE64),
    ("bedrock-api-key-", 16, BASE64),
    ("AIza", 24, WORD),
    ("ya29.", 16, DOTTED),
    ("GOCSPX-", 16, WORD),
    ("AQ.Ab", 16, WORD),
    ("AccountKey=", 16, BASE64),
    ("SharedAccessKey=", 16, BASE64),
    ("dop_v1_", 16, WORD),
    ("dapi", 32, r"[a-f0-9]"),
    ("tskey-", 12, WORD),
    ("FlyV1 ", 16, BASE64),
    # Code hosts, package registries, build systems.
    ("ghp_", 16, WORD),
    ("gho_", 16, WORD),
    ("ghu_", 16, WORD),
    ("ghs_", 16, WORD),
    ("ghr_", 16, WORD),
    ("github_pat_", 16, WORD),
    ("glpat-", 16, DOTTED),
    ("gldt-", 16, WORD),
    ("glrt-", 16, DOTTED),
    ("npm_", 24, WORD),
    ("pypi-", 24, WORD),
    ("dckr_pat_", 16, WORD),
    ("hvs.", 16, WORD),
    ("pul-", 32, r"[a-f0-9]"),
    ("ATATT3", 24, BASE64),
    # Chat, mail, payment, monitoring.
    ("xoxa-", 8, WORD),
    ("xoxb-", 8, WORD),
    ("xoxe.", 8, DOTTED),
    ("xoxp-", 8, WORD),
    ("xoxr-", 8, WORD),
    ("xoxs-", 8, WORD),
    ("xapp-", 8, WORD),
    ("hooks.slack.com/services/", 8, r"[A-Za-z0-9_/-]"),
    ("/api/webhooks/", 16, r"[A-Za-z0-9_/-]"),
    ("SG.", 20, DOTTED),
    ("xkeysib-", 16, WORD),
    ("sk_live_", 10, WORD),
    ("sk_test_", 10, WORD),
    ("rk_live_", 10, WORD),
    ("whsec_", 16, BASE64),
    ("shpat_", 16, WORD),
    ("glsa_", 16, WORD),
    ("sntrys_", 16, BASE64),
    ("lin_api_", 16, WORD),
    ("ntn_", 24, WORD),
    ("figd_", 16, WORD),
    ("AGE-SECRET-KEY-1", 16, r"[A-Z0-9]"),
    # JSON Web Tokens and everything else that is a JSON object in base64.
    ("eyJ", 17, BASE64),
)
"""Literal beginning, least number of characters after it, and which characters those are."""

PRIVATE_KEY: Final = r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY.*?(?:-----END [A-Z ]{0,40}-----|$)"
"""Of one line, or of several with DOTALL."""
_HEADERS: Final = "authorization", "api-key", "x-auth-token", "cookie"
_FIELDS: Final = "key", "token", "secret", "passw", "credential", "signature", "sig"
_HAS_DIGIT: Final = r"(?=[^\s\"'&,;<>]{0,40}[0-9])"
_EDGE: Final = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"
"""No letter before, unless it belongs to an escape (`\\n`, `%3D`)."""

Hinted = tuple[tuple[str, ...], re.Pattern[str]]


def token_patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Returns every prefix with the expression for its tokens."""
    return tuple((prefix, re.compile(_token(prefix, least, kind))) for prefix, least, kind in PREFIXES)


def _token(prefix: str, least: int, kind: str) -> str:
    r"""Leaves words alone that only contain the prefix (`task-...`), but knows `\n` and `%3D` before a token.

    The look-behind stands after the literal, so that the search can still jump from literal to literal.
    """
    text = re.escape(prefix)
    if not prefix[0].isalnum():
        return f"{text}{kind}{{{least},}}+"
    edge = rf"(?:(?<![A-Za-z0-9]{text})|(?<=\\[nrt]{text})|(?<=%[0-9A-Fa-f]{{2}}{text}))"
    return f"{text}{edge}{kind}{{{least},}}+"


def context_patterns() -> tuple[Hinted, ...]:
    """Returns the expressions for secrets known by where they stand; group 1 is what stays of a match.

    With each come the lower-case texts of which one must be there.
    """
    return (
        (("-----begin",), re.compile(f"(){PRIVATE_KEY}")),
        (("://",), re.compile(r"(://)[^\s/?#@\"'<>]{1,}+@")),
        (_HEADERS, _header()),
        (_FIELDS, _field()),
        (("bearer", "basic"), _scheme()),
        ((":aa",), re.compile(rf"(){_EDGE}[0-9]{{8,10}}:AA[A-Za-z0-9_-]{{30,}}+")),  # Telegram
        ((".",), re.compile(rf"(){_EDGE}[MNO]{WORD}{{22,27}}+\.{WORD}{{5,7}}+\.{WORD}{{26,}}+")),  # Discord
        ((".",), re.compile(rf"(){_EDGE}[0-9a-f]{{32}}\.[A-Za-z0-9]{{16,}}+")),  # Z.AI
    )


def _header() -> re.Pattern[str]:
    names = "|".join(_HEADERS)
    scheme = r"(?:bearer\s|basic\s|token\s|bot\s)?"
    return re.compile(rf"((?:{names})[\"']?\s{{0,4}}[:=]\s{{0,4}}[\"']?{scheme})[^\s\"',;<>]+", re.IGNORECASE)


def _field() -> re.Pattern[str]:
    """Asks for a digit in the value, so that `unexpected token: identifier` stays readable."""
    names = "|".join((*_FIELDS, "password", "passwd"))
    return re.compile(
        rf"((?:{names})(?: provided| is| was)?[\"']?\s{{0,4}}[:=]\s{{0,4}}[\"']?){_HAS_DIGIT}[^\s\"'&,;<>]{{6,}}+",
        re.IGNORECASE,
    )


def _scheme() -> re.Pattern[str]:
    return re.compile(rf"((?:bearer|basic)(?:\s|%20|\+){{1,4}}){_HAS_DIGIT}{BASE64}{{8,}}+", re.IGNORECASE)
