"""Whatever is pasted as an endpoint, the right URLs are requested; what cannot be one is refused in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests
import responses
from hypothesis import given
from hypothesis import strategies as st

from reelkeeper.model import JobRequest, Output
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.endpoints import is_azure, is_openai, parse_endpoint

Make = Callable[..., AzureJobs]
BASE = "https://r.openai.azure.com/openai/v1"


@pytest.mark.parametrize(
    ("text", "base_url", "version"),
    [
        # the three documented forms
        ("https://r.openai.azure.com", BASE, "preview"),
        ("https://r.openai.azure.com/openai/v1", BASE, "preview"),
        (f"{BASE}/video/generations/jobs?api-version=preview", BASE, "preview"),
        # slashes, blanks, letters
        ("https://r.openai.azure.com/", BASE, "preview"),
        ("https://r.openai.azure.com/openai", BASE, "preview"),
        ("https://r.openai.azure.com/openai/", BASE, "preview"),
        ("https://r.openai.azure.com/openai/v1/", BASE, "preview"),
        ("https://r.openai.azure.com//openai/v1//", BASE, "preview"),
        ("  https://r.openai.azure.com/openai/v1\n", BASE, "preview"),
        ("HTTPS://R.OpenAI.Azure.com/openai/v1", BASE, "preview"),
        ("https://r.openai.azure.com#overview", BASE, "preview"),
        ("https://r.openai.azure.com?", BASE, "preview"),
        # other operations' URLs of the same resource
        (f"{BASE}/video/generations/jobs", BASE, "preview"),
        (f"{BASE}/video/generations/jobs/", BASE, "preview"),
        (f"{BASE}/video/generations/jobs/task_1?api-version=preview", BASE, "preview"),
        (f"{BASE}/video/generations/gen_1/content/video?api-version=preview&quality=high", BASE, "preview"),
        (f"{BASE}/videos", BASE, "preview"),
        (f"{BASE}/chat/completions", BASE, "preview"),
        # versions
        ("https://r.openai.azure.com?api-version=v1", BASE, "v1"),
        (f"{BASE}/video/generations/jobs?api-version=2025-04-01-preview", BASE, "2025-04-01-preview"),
        (f"{BASE}?API-Version=v1", BASE, "v1"),
        (f"{BASE}?api-version=", BASE, "preview"),
        (f"{BASE}?api-version=%20preview", BASE, "preview"),
        (f"{BASE}?api-key=oops&api-version=v1", BASE, "v1"),
        # deployments: the older operation is kept as it is, a mere mention of one names the resource
        (
            "https://r.openai.azure.com/openai/deployments/d/video/generations/jobs?api-version=2025-02-15-preview",
            "https://r.openai.azure.com/openai/deployments/d",
            "2025-02-15-preview",
        ),
        ("https://r.openai.azure.com/openai/deployments/sora", BASE, "preview"),
        ("https://r.openai.azure.com/openai/deployments", BASE, "preview"),
        (
            "https://r.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2025-01-01-preview",
            BASE,
            "2025-01-01-preview",
        ),
        # other hosts of Azure, projects
        ("https://r.cognitiveservices.azure.com/", "https://r.cognitiveservices.azure.com/openai/v1", "preview"),
        ("https://r.services.ai.azure.com", "https://r.services.ai.azure.com/openai/v1", "preview"),
        ("https://r.services.ai.azure.com/api/projects/p", "https://r.services.ai.azure.com/openai/v1", "preview"),
        (
            "https://r.services.ai.azure.com/api/projects/p/openai/v1/video/generations/jobs",
            "https://r.services.ai.azure.com/openai/v1",
            "preview",
        ),
        # ports
        ("http://127.0.0.1:7090", "http://127.0.0.1:7090/openai/v1", "preview"),
        ("https://r.openai.azure.com:443/openai/v1", BASE, "preview"),
        ("http://h:80", "http://h/openai/v1", "preview"),
        ("http://h:443", "http://h:443/openai/v1", "preview"),
        ("http://[::1]:7090/openai/v1", "http://[::1]:7090/openai/v1", "preview"),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]/openai/v1", "preview"),
        # gateways keep their own paths, and the case of them
        ("https://gw.example/Team-A/openai/v1", "https://gw.example/Team-A/openai/v1", "preview"),
        ("https://gw.example/v1", "https://gw.example/v1", "preview"),
        ("https://gw.example/v1/video/generations/jobs", "https://gw.example/v1", "preview"),
        ("https://gw.example/video/generations/jobs", "https://gw.example", "preview"),
        ("https://gw.example/sora/", "https://gw.example/sora", "preview"),
    ],
)
def test_every_pasted_form_gives_the_base_and_the_version(text: str, base_url: str, version: str) -> None:
    """Bare resource, v1 base and full operation URLs all lead to the place where the jobs are."""
    assert parse_endpoint(text) == (base_url, version)


@pytest.mark.parametrize(
    ("text", "base_url"),
    [
        # Azure: whatever names the resource
        ("https://r.openai.azure.com", BASE),
        ("https://r.openai.azure.com/openai/", BASE),
        ("https://r.openai.azure.com/v1", BASE),
        (f"{BASE}/videos?api-version=preview", BASE),
        (f"{BASE}/videos/video_1/content", BASE),
        (f"{BASE}/video/generations/jobs?api-version=preview", BASE),
        ("https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2025-01-01", BASE),
        ("https://r.services.ai.azure.com/api/projects/p", "https://r.services.ai.azure.com/openai/v1"),
        ("https://r.cognitiveservices.azure.com/", "https://r.cognitiveservices.azure.com/openai/v1"),
        # OpenAI and self-hosted servers
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://gpu:8000/v1/videos", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/videos/video_gen_1/content?variant=video", "http://gpu:8000/v1"),
        ("http://gpu:8000//v1//models", "http://gpu:8000/v1"),
        ("http://[::1]:8000/V1/Videos", "http://[::1]:8000/V1"),
        # gateways
        ("https://gw.example/openai/v1/videos", "https://gw.example/openai/v1"),
        ("https://gw.example/openai", "https://gw.example/openai/v1"),
        ("https://gw.example/team-a/v1/videos", "https://gw.example/team-a/v1"),
        ("https://gw.example/v3/videos", "https://gw.example/v3"),
        ("https://gw.example/v1/account/gateway/openai", "https://gw.example/v1/account/gateway/openai"),
        ("https://gw.example/videos", "https://gw.example"),
    ],
)
def test_the_videos_dialect_has_bases_of_its_own(text: str, base_url: str) -> None:
    """Without an api-version, and what is then called can be pasted as well."""
    assert parse_endpoint(text, "openai-videos") == (base_url, "")
    assert parse_endpoint(f"{base_url}/videos", "openai-videos") == (base_url, "")


@pytest.mark.parametrize(
    ("url", "azure", "openai"),
    [
        (BASE, True, False),
        ("https://R.Cognitiveservices.Azure.com", True, False),
        ("https://r.services.ai.azure.com:443/x", True, False),
        ("https://api.openai.com/v1", False, True),
        ("https://openai.azure.com.evil.example", False, False),
        ("https://evil.example/r.openai.azure.com", False, False),
        ("https://xopenai.azure.com", False, False),
        ("https://api.openai.com.evil.example", False, False),
        ("http://127.0.0.1:8000", False, False),
    ],
)
def test_a_vendor_is_known_by_its_host(url: str, azure: bool, openai: bool) -> None:
    """An identity's token goes to Azure's own hosts only, so a look-alike must not be taken for one."""
    assert (is_azure(url), is_openai(url)) == (azure, openai)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "r.openai.azure.com",
        "r.openai.azure.com:443/openai/v1",
        "localhost:7090",
        "//r.openai.azure.com/openai/v1",
        "/openai/v1",
        "ftp://r.openai.azure.com",
        "https://",
        "https:///openai/v1",
        "https:r.openai.azure.com",
        "https://:443",
        "https://r.openai.azure.com:port",
        "https://r.openai.azure.com:70000",
        "https://r.openai.azure.com:0",
        "https://hunter2@r.openai.azure.com",
        "https://me:hunter2@r.openai.azure.com",
        "https://:hunter2@r.openai.azure.com",
        "https://<hunter2>.openai.azure.com",
        "https://{hunter2}.openai.azure.com",
        "https://my hunter2.openai.azure.com",
        "'https://hunter2.openai.azure.com'",
        '"https://hunter2.openai.azure.com"',
        "AZURE_SORA_ENDPOINT=https://hunter2.openai.azure.com",
        "https://%zz.hunter2.com",
        "https://[::1",
        "https://[hunter2]",
        "https://.hunter2.com",
        "https://hunter2..com",
        "https://hunter2\u200b.com",
        "https://hünter2.com",
        "https://hunter2@\u2100.example",
    ],
)
def test_what_is_no_endpoint_is_refused_without_repeating_it(text: str) -> None:
    """The words go on behind the setting's name, and nothing of the text is in them: it may hold a key."""
    for dialect in ("azure-jobs", "openai-videos"):
        with pytest.raises(ValueError, match=r"^(is no URL|has a port|must not hold|holds a space).*\.$") as caught:
            parse_endpoint(text, dialect)
    assert "hunter2" not in str(caught.value)
    assert "openai.azure" not in str(caught.value)


hosts = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,10}(\.[a-zA-Z]{2,5})?(:[1-9][0-9]{0,3})?", fullmatch=True)
paths = st.lists(
    st.sampled_from(["", "openai", "v1", "deployments", "d", "video", "generations", "jobs", "videos", "x"])
)


@given(st.sampled_from(["http", "https"]), hosts, paths.map("/".join))
def test_the_videos_url_of_a_base_leads_back_to_it(scheme: str, host: str, path: str) -> None:
    """The same holds in the videos dialect."""
    base_url, _ = parse_endpoint(f"{scheme}://{host}/{path}", "openai-videos")
    assert not base_url.endswith("/")
    assert parse_endpoint(f"{base_url}/videos/video_1/content", "openai-videos") == (base_url, "")


@given(st.sampled_from(["http", "https"]), hosts, paths.map("/".join))
def test_the_jobs_url_of_a_base_leads_back_to_it(scheme: str, host: str, path: str) -> None:
    """Whatever was pasted, the URL that is then called can be pasted as well and means the same."""
    base_url, version = parse_endpoint(f"{scheme}://{host}/{path}")
    assert not base_url.endswith("/")
    assert parse_endpoint(f"{base_url}/video/generations/jobs?api-version={version}") == (base_url, version)


@given(st.text(max_size=60) | st.text(max_size=40).map("https://".__add__))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes it fail in another way than by words, and what is read can be requested."""
    try:
        base_url, version = parse_endpoint(text)
    except ValueError as refused:
        words = str(refused)
    else:
        words = f"{version}."
        assert requests.Request("GET", f"{base_url}/jobs").prepare().url
    assert words.endswith(".")
    assert len(words) > 1


TASK = {"id": "task_1", "status": "queued"}


@pytest.mark.parametrize(
    ("endpoint", "base_url", "query"),
    [
        ("https://r.openai.azure.com", BASE, "?api-version=preview"),
        (f"{BASE}/", BASE, "?api-version=preview"),
        (f"{BASE}/video/generations/jobs?api-version=2025-04-01-preview", BASE, "?api-version=2025-04-01-preview"),
        ("http://[::1]:7090", "http://[::1]:7090/openai/v1", "?api-version=preview"),
        ("https://gw.example/video/generations/jobs?api-version=v1", "https://gw.example", "?api-version=v1"),
    ],
)
def test_exactly_these_urls_are_requested(
    endpoint: str, base_url: str, query: str, adapter: Make, request_: JobRequest, output: Output
) -> None:
    """Create, get, video and thumbnail each have one URL, all with one api-version and the key in the header."""
    parsed, version = parse_endpoint(endpoint)
    provider = adapter(parsed, api_version=version)
    root = f"{base_url}/video/generations"
    with responses.RequestsMock() as calls:
        calls.post(f"{root}/jobs{query}", json=TASK, status=201)
        calls.get(f"{root}/jobs/task_1{query}", json=TASK)
        calls.get(f"{root}/gen_1/content/video{query}", body=b"video", content_type="video/mp4")
        calls.get(f"{root}/gen_1/content/thumbnail{query}", body=b"jpg", content_type="image/jpg")
        provider.submit(request_)
        provider.look("task_1")
        for content in (provider.open_output(output), provider.open_thumbnail(output)):
            assert content is not None
            with content:
                assert b"".join(content.chunks())
        assert [call.request.url for call in calls.calls] == [
            f"{root}/jobs{query}",
            f"{root}/jobs/task_1{query}",
            f"{root}/gen_1/content/video{query}",
            f"{root}/gen_1/content/thumbnail{query}",
        ]
        assert {call.request.headers["api-key"] for call in calls.calls} == {"sEcReT/k3y+for=tests"}


def test_ids_are_quoted(adapter: Make) -> None:
    """An id is opaque: what it holds never becomes a path, a query or another route."""
    odd = "a/b?c=d&e#f g%20ü"
    quoted = "a%2Fb%3Fc%3Dd%26e%23f%20g%2520%C3%BC"
    with responses.RequestsMock() as calls:
        calls.get(f"{BASE}/video/generations/jobs/{quoted}", json=TASK)
        calls.get(f"{BASE}/video/generations/{quoted}/content/video", body=b"video")
        assert adapter(BASE).look(odd).task_id == odd
        adapter(BASE).open_output(Output(odd, 1, 1, 1)).__exit__(None, None, None)
        sent = [call.request.url for call in calls.calls]
    root = f"{BASE}/video/generations"
    assert sent == [
        f"{root}/jobs/{quoted}?api-version=preview",
        f"{root}/{quoted}/content/video?api-version=preview",
    ]


def test_without_a_version_none_is_sent(adapter: Make) -> None:
    """A provider configured without api-version gets plain paths."""
    with responses.RequestsMock() as calls:
        calls.get(f"{BASE}/video/generations/jobs/task_1", json=TASK)
        adapter(BASE, api_version="").look("task_1")
        assert calls.calls[0].request.url == f"{BASE}/video/generations/jobs/task_1"
