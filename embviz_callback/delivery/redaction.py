"""The one place that keeps secrets from leaving the process: by their name, their shape, and the environment."""

import os
import re
from typing import Any

_STRONG = (
    r"passw|pwd|passphrase|secret|credential|api_?key|access_?key|private_?key|bearer|authori[sz]ation"
    r"|webhook|token(?!s|i)|cookie|jwt|dsn"
)
# A piece of a name by itself; "pass" in "n_passes", "key" in "keyboard" and "sas" in "sasha" are none.
_PIECES = re.compile(
    r"(?i)pass|pw|pin|otp|keys?|auth|sas|sig|signature|salt|cert|conn|connection|ur[li]|db|database|login|user|username"
    r"|account|e?mail|host|endpoint|proxy|license|private|session|ssh|hmac"
)
_COUNTING = re.compile(r"(?i)n|num|number|max|min|dims?|size|len|length|heads?|value|count|per|ratio|rate")
_SECRET_NAME = re.compile(f"(?i){_STRONG}")
_NAME_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")

_WORD = r"(?:[A-Z]?[a-z]{1,20}|[A-Z]{1,12}|(?:[A-Z]+[a-z]*){1,4})\d{0,4}|\d{1,4}[A-Za-z]{0,3}"
_SETTING = re.compile(rf"(?:{_WORD})(?:[-_. ](?:{_WORD})){{0,5}}(?:/(?:{_WORD})(?:[-_.](?:{_WORD})){{0,5}})?")
_LONGEST_SETTING = 48

_HIDDEN = "***"
_KNOWN_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?"
    r"|\b(?:(?:sk|pk|rk|hf|gh[opsur]|github_pat|glpat|xox[abeprs]|npm|pypi|dop_v1|shpat)[-_]|SG\.|AIza|ya29\.)"
    r"(?=[\w.-]*[A-Z0-9])[\w.-]{12,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b",
    re.DOTALL,
)
_WEAK = r"(?<![a-z])(?:pass|pw|pin|otp|auth|sas|sig|signature)(?![a-z])|[_-]key(?![a-z])|\bkey(?=\s*=)"
_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*)://([^\s\"'<>`]+)")
# Behind a name that is one: what stands in quotes, behind "Bearer" or "Basic", or up to the next gap.
_ASSIGNED = re.compile(
    rf"(?i)(?P<name>(?<![\w-])[\w-]{{0,60}}?(?:{_STRONG}|{_WEAK})[\w-]{{0,60}}[\"']?\s*"
    r"(?:=>|[=:])\s*)(?P<value>(?:(?:bearer|basic)\s+)?(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"'{}()\[\]]+))"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_LONG = re.compile(r"(?<![\w/+=-])[A-Za-z0-9_+=-]{24,}(?![\w/+=-])")
_SHORTEST_OF_ENVIRONMENT = 6


def is_secret_name(name: str) -> bool:
    """Whether what has this name is most likely a secret, or leads to one.

    Args:
        name: Of a setting, a variable, a field.

    Returns:
        Yes or no; the number of something is none.

    Example:
        >>> is_secret_name("wandb_key"), is_secret_name("max_tokens"), is_secret_name("num_key_value_heads")
        (True, False, False)
    """
    if _SECRET_NAME.search(name):
        return True
    pieces = _NAME_PARTS.findall(name)
    return any(map(_PIECES.fullmatch, pieces)) and not any(map(_COUNTING.fullmatch, pieces))


def is_setting(name: str, value: Any) -> bool:
    """Whether a value is plainly a setting: a number, a truth value, a few short words; nothing with a secret name.

    Args:
        name: Of the value.
        value: Anything.

    Returns:
        Yes, or no for all that is not known to be harmless.
    """
    if is_secret_name(name):
        return False
    if type(value) is not str:  # by type: a subclass may be anything
        return type(value) in (bool, int, float)
    return _is_setting(value) and redacted(value) == value


def redacted(text: str) -> str:
    """A text without the secrets in it: of addresses, assignments, headers, known tokens, and the environment.

    Args:
        text: Any, such as the message of an exception or a traceback.

    Returns:
        The text with three stars in the place of each.

    Example:
        >>> redacted("cannot reach postgres://me:hunter2@db/runs, api_key=abc123")
        'cannot reach postgres://***@db/runs, api_key=***'
    """
    for value in _of_environment():
        text = text.replace(value, _HIDDEN)
    text = _KNOWN_SHAPES.sub(_HIDDEN, text)
    text = _URL.sub(_without_secrets, text)
    text = _BEARER.sub(rf"\1 {_HIDDEN}", text)
    text = _ASSIGNED.sub(rf"\g<name>{_HIDDEN}", text)
    return _LONG.sub(_unless_words, text)


def _of_environment() -> list[str]:
    """Values of variables with a secret name, the longest first."""
    named = {
        value
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_OF_ENVIRONMENT and not value.startswith(("/", "~"))
    }
    return sorted(named, key=len, reverse=True)


def _without_secrets(url: "re.Match[str]") -> str:
    scheme, rest = url.groups()
    place, slash, path = rest.partition("/")
    login, at, host = place.rpartition("@")
    path, mark, _ = path.partition("?")
    # Behind the host of a webhook the path itself is the secret; a word of a path is none.
    parts = [part if len(part) < 8 or _is_setting(part) else _HIDDEN for part in path.split("/")]
    host, query, _ = host.partition("?")
    shown = f"{_HIDDEN}@{host}" if at and login else host
    tail = f"?{_HIDDEN}" if mark or query else ""
    return f"{scheme}://{shown}{slash}{'/'.join(parts)}{tail}"


def _is_setting(text: str) -> bool:
    return len(text) <= _LONGEST_SETTING and _SETTING.fullmatch(text) is not None


def _unless_words(found: "re.Match[str]") -> str:
    text = found.group()
    return text if _is_words(text) else _HIDDEN


def _is_words(text: str) -> bool:
    """Whether a long run of letters and digits reads like a name: few changes between letters and digits."""
    pieces = re.split(r"[-_.+=]+", text)
    changes = sum(len(re.findall(r"[A-Za-z](?=\d)|\d(?=[A-Za-z])", piece)) for piece in pieces)
    longest = max(map(len, pieces))
    return changes <= max(2, len(pieces)) and not (longest >= 20 and changes > 0)
