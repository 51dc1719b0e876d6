"""The owner that a request speaks for, by body, header or query."""

from __future__ import annotations

import azure.functions as func
import pytest

from reelkeeper.errors import RequestRefused
from triggers.owner import MAX_OWNER, owner_of


def request(header: str | None = None, query: str | None = None) -> func.HttpRequest:
    headers = {} if header is None else {"X-User-Id": header}
    params = {} if query is None else {"user_id": query}
    return func.HttpRequest("GET", "https://films.example/api/videos/user", headers=headers, params=params, body=b"")


@pytest.mark.parametrize(
    ("header", "query", "body", "owner"),
    [
        (None, None, None, "default"),
        ("ada", None, None, "ada"),
        (None, "ada", None, "ada"),
        (None, None, "ada", "ada"),
        ("ada", "ada", "ada", "ada"),
        ("Ada Lovelace", None, None, "Ada Lovelace"),
        ("auth0|5f7c", None, None, "auth0|5f7c"),
        ("../../x", None, None, "../../x"),
        ("ümit@例え.jp", None, None, "ümit@例え.jp"),
        ("x" * MAX_OWNER, None, None, "x" * MAX_OWNER),
    ],
)
def test_an_owner_is_taken_as_it_is(header: str | None, query: str | None, body: str | None, owner: str) -> None:
    """Any printable text names an owner; without one it is `default`."""
    assert owner_of(request(header, query), body) == owner


@pytest.mark.parametrize(
    ("header", "query", "body"),
    [("ada", "bob", None), ("ada", None, "bob"), (None, "ada", "bob"), ("ada", "ada", "bob"), ("ada", None, "Ada")],
)
def test_two_owners_at_once_are_refused(header: str | None, query: str | None, body: str | None) -> None:
    """A mix-up of a backend must not end in somebody else's gallery."""
    with pytest.raises(RequestRefused) as caught:
        owner_of(request(header, query), body)
    assert (caught.value.status, [error.field for error in caught.value.errors]) == (400, ["user_id"])


@pytest.mark.parametrize("owner", ["", " ", "\t", "a\nb", "a\x00", "a\x7f", "\u200b", "x" * (MAX_OWNER + 1), "\ud800"])
def test_what_is_no_name_is_refused(owner: str) -> None:
    """An empty name above all: it is a backend's slip, and would make everybody the default owner."""
    for headers in (request(owner), request(None, owner)):
        with pytest.raises(RequestRefused) as caught:
            owner_of(headers)
        assert caught.value.errors[0].field == "user_id"
