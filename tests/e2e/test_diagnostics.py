"""GET diagnostics of the running service: the app looks at its own storage and provider, through the real host."""

from __future__ import annotations


def test_the_running_service_finds_nothing_wrong_with_itself(service):
    """Every check is ok, and nothing was generated for it."""
    answer = service.call("GET", "/api/diagnostics")
    assert answer.status_code == 200
    body = answer.json()
    assert [check for check in body["checks"] if not check["ok"]] == []
    assert body["ok"] is True
    names = {check["name"] for check in body["checks"]}
    assert {"host.json", "storage: signed url", "provider sora: route"} <= names
    assert service.call("GET", "/api/videos/user").json()["items"] == []
