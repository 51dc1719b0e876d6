"""The contract of `Clips`, on the fake and on Azure blobs; then what only a storage service can show, over HTTP."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient

from reelkeeper.clips.base import Clips, MissingBlob, MissingBlocks, StagedBlock, StoredClip
from reelkeeper.clips.blobs import BlobClips
from reelkeeper.clips.memory import MemoryClips
from reelkeeper.storage import StorageConnection

PATH = "user_ada@example.com/videos/0198-job~2F/0.mp4"
METADATA = {"job": "0198", "digest": "sha256:ab+/=", "output": "gen 1"}


def in_an_hour() -> datetime:
    return datetime.now(timezone.utc) + timedelta(hours=1)


def commit(clips: Clips, block_ids: list[str], path: str = PATH, **changes: Any) -> StoredClip:
    values: dict[str, Any] = {"content_type": "video/mp4", "filename": "video_0198_0.mp4", "metadata": METADATA}
    return clips.commit(path, block_ids, **{**values, **changes})


def content(clips: Clips, path: str = PATH) -> bytes:
    """The bytes of a committed clip, from the real store by its signed URL."""
    if isinstance(clips, MemoryClips):
        return clips.content(path)
    answer = requests.get(clips.signed_url(path, in_an_hour()), timeout=10)
    assert answer.status_code == 200
    return answer.content


def test_staged_blocks_are_unseen_until_the_commit(clips: Clips) -> None:
    """A half-transferred clip is known as blocks only; the commit makes it a clip and uses them up."""
    assert clips.staged(PATH) == []
    clips.stage(PATH, "0001", b"first")
    clips.stage(PATH, "0000", b"zeroth")
    assert clips.find(PATH) is None
    assert sorted(clips.staged(PATH), key=lambda block: block.block_id) == [
        StagedBlock("0000", 6),
        StagedBlock("0001", 5),
    ]
    stored = commit(clips, ["0000", "0001"])
    assert stored == StoredClip(PATH, 11, "video/mp4", METADATA)
    assert clips.find(PATH) == stored
    assert clips.staged(PATH) == []
    assert content(clips) == b"zerothfirst"


def test_staging_a_block_again_replaces_it(clips: Clips) -> None:
    """A repeated block counts once, with its last bytes."""
    clips.stage(PATH, "0000", b"cut off")
    clips.stage(PATH, "0000", b"whole block")
    assert clips.staged(PATH) == [StagedBlock("0000", 11)]
    commit(clips, ["0000"])
    assert content(clips) == b"whole block"


def test_blocks_left_out_of_the_commit_are_dropped(clips: Clips) -> None:
    """The clip is exactly the listed blocks in the listed order."""
    for block_id in ("a", "b", "c"):
        clips.stage(PATH, block_id, block_id.encode() * 3)
    commit(clips, ["c", "a"])
    assert content(clips) == b"cccaaa"
    assert clips.staged(PATH) == []


def test_block_ids_may_hold_index_and_digest(clips: Clips) -> None:
    """An id of 64 characters comes back as given: it is the checkpoint of a resumed download."""
    block_id = f"00000042-{hashlib.sha256(b'block').hexdigest()[:55]}"
    clips.stage(PATH, block_id, b"block")
    assert clips.staged(PATH) == [StagedBlock(block_id, 5)]
    assert commit(clips, [block_id]).size == 5


def test_a_second_commit_changes_nothing(clips: Clips) -> None:
    """A re-run meets its own clip: the stored one is returned, whatever blocks and metadata it came with."""
    clips.stage(PATH, "0000", b"the paid video")
    first = commit(clips, ["0000"])
    assert commit(clips, ["0000"], metadata={"job": "other"}) == first
    clips.stage(PATH, "0001", b"something else")
    assert commit(clips, ["0001"], content_type="text/html") == first
    assert content(clips) == b"the paid video"


def test_a_small_blob_is_read_back_whole(clips: Clips) -> None:
    """What was put last, or what was committed; blocks alone are no blob."""
    with pytest.raises(MissingBlob):
        clips.read(PATH)
    clips.stage(PATH, "0000", b"whole ")
    with pytest.raises(MissingBlob):
        clips.read(PATH)
    commit(clips, ["0000"])
    assert clips.read(PATH) == b"whole "
    picture = "user_ada@example.com/videos/0198-job~2F/input.png"
    large = bytes(range(256)) * 4096 * 20
    clips.put(picture, b"first", content_type="image/png")
    clips.put(picture, large, content_type="image/png")
    assert clips.read(picture) == large


def test_a_commit_without_its_blocks_is_refused(clips: Clips) -> None:
    """MissingBlocks says: fetch again; nothing becomes visible, what is staged stays staged."""
    with pytest.raises(MissingBlocks):
        commit(clips, ["0000"])
    clips.stage(PATH, "0000", b"first")
    with pytest.raises(MissingBlocks):
        commit(clips, ["0000", "0001"])
    assert clips.find(PATH) is None
    assert clips.staged(PATH) == [StagedBlock("0000", 5)]


def test_of_racing_commits_exactly_one_wins(clips: Clips, race: Callable[..., list[Any]]) -> None:
    """Eight workers commit one path together: all get the one winner's clip, none fails."""
    for turn in range(5):
        path = f"user_ada/videos/race{turn}/0.mp4"
        clips.stage(path, "0000", b"data")
        results = race(lambda number, path=path: commit(clips, ["0000"], path, metadata={"writer": str(number)}))
        stored = clips.find(path)
        assert stored is not None
        assert results == [stored] * 8


def test_racing_first_writes_all_arrive(clips: Clips, race: Callable[..., list[Any]]) -> None:
    """Eight workers write into a store that has no container yet: none fails, all blocks are there."""
    assert race(lambda number: clips.stage(PATH, str(number), b"x" * (number + 1))) == [None] * 8
    assert commit(clips, [str(number) for number in range(8)]).size == 36


def test_a_container_made_by_several_at_once_serves_all(
    connection: StorageConnection, race: Callable[..., list[Any]]
) -> None:
    """Workers that all miss the container all try to make it: losing that race is no error."""
    for _ in range(6):
        clips = BlobClips(connection, container=f"media-{secrets.token_hex(6)}")
        assert (
            race(lambda number, clips=clips: clips.put(f"{number}.jpg", b"data", content_type="image/jpeg"))
            == [None] * 8
        )
        clips.close()


def test_a_small_blob_is_written_in_one_go(clips: Clips) -> None:
    """`put` makes a blob or replaces one, whatever was staged for its path."""
    clips.stage(PATH, "0000", b"staged")
    clips.put(PATH, b"first", content_type="image/png")
    clips.put(PATH, b"thumbnail", content_type="image/jpeg")
    assert clips.find(PATH) == StoredClip(PATH, 9, "image/jpeg", {})
    assert content(clips) == b"thumbnail"


def test_all_below_a_prefix_is_deleted(clips: Clips) -> None:
    """Clips, thumbnails, input, in folders too; neighbours stay whose name ours begins, or begins with ours."""
    mine = ["user_ada/videos/job/0.mp4", "user_ada/videos/job/0.jpg", "user_ada/videos/job/in/input.png"]
    theirs = [
        "user_ada/videos/job2/0.mp4",
        "user_ada/videos/jo/0.mp4",
        "user_ada/videos/job",
        "user_ad/videos/job/0.mp4",
    ]
    for path in mine + theirs:
        clips.put(path, b"data", content_type="image/jpeg")
    clips.delete_all("user_ada/videos/job/")
    assert [path for path in mine + theirs if clips.find(path)] == theirs
    with pytest.raises(MissingBlob):
        clips.read(mine[0])
    clips.delete_all("user_ada/videos/job/")


def test_deleting_in_an_empty_store_deletes_nothing(clips: Clips) -> None:
    """A missing container is an empty one, before and after the question."""
    clips.delete_all("user_ada/videos/job/")
    assert clips.find(PATH) is None


@pytest.mark.parametrize("prefix", ["", "user_ada/videos/job", "p" * 1024 + "/"])
def test_a_prefix_that_would_take_neighbours_is_refused(clips: Clips, prefix: str) -> None:
    """A prefix is a folder: without its slash it is a ValueError, and nothing is deleted."""
    clips.put(PATH, b"data", content_type="image/jpeg")
    with pytest.raises(ValueError):
        clips.delete_all(prefix)
    assert content(clips) == b"data"


def test_uncommitted_blocks_are_deleted_too(clips: Clips) -> None:
    """They are no blobs, but they hold what may be private; afterwards a clip can be made anew."""
    folder, second = PATH.removesuffix("0.mp4"), PATH.replace("0.mp4", "1.mp4")
    clips.stage(PATH, "0000", b"first")
    commit(clips, ["0000"])
    clips.stage(second, "0000", b"never committed")
    clips.delete_all(folder)
    assert (clips.find(PATH), clips.find(second)) == (None, None)
    assert (clips.staged(PATH), clips.staged(second)) == ([], [])
    clips.delete_all(folder)
    clips.stage(PATH, "0000", b"again")
    commit(clips, ["0000"])
    assert content(clips) == b"again"


def test_racing_deletions_all_succeed(clips: Clips, race: Callable[..., list[Any]]) -> None:
    """Eight workers delete the same folder: none fails, and nothing is left."""
    for index in range(5):
        clips.put(f"user_ada/videos/job/{index}.mp4", b"data", content_type="video/mp4")
    race(lambda _: clips.delete_all("user_ada/videos/job/"))
    assert [clips.find(f"user_ada/videos/job/{index}.mp4") for index in range(5)] == [None] * 5


def test_a_blob_that_is_gone_does_not_save_the_next() -> None:
    """Somebody deletes the first of the listed blobs before us: the second is deleted all the same."""
    asked: list[str] = []

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            names = "".join(
                f"<Blob><Name>job/{index}.mp4</Name><Properties><BlobType>BlockBlob</BlobType></Properties></Blob>"
                for index in range(2)
            )
            self.answer(200, f"<EnumerationResults><Blobs>{names}</Blobs><NextMarker/></EnumerationResults>")

        def do_DELETE(self) -> None:
            asked.append(self.path.split("?")[0])
            self.answer(404 if len(asked) == 1 else 202)

        def answer(self, status: int, text: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/account"
        clips = BlobClips(StorageConnection(f"AccountName=account;AccountKey=a2V5;BlobEndpoint={address}"))
        clips.delete_all("job/")
        clips.close()
        server.shutdown()
    assert asked == ["/account/media/job/0.mp4", "/account/media/job/1.mp4"]


def test_a_blob_is_deleted_with_its_snapshots(stored_clips: BlobClips, connection: StorageConnection) -> None:
    """A backup tool's snapshots would make the service refuse to delete the blob alone."""
    stored_clips.put(PATH, b"data", content_type="video/mp4")
    address, _ = stored_clips.signed_url(PATH, in_an_hour()).split("?")
    with BlobServiceClient.from_connection_string(connection.full_connection_string) as service:
        container = service.get_container_client(address.split("/user_")[0].rpartition("/")[2])
        container.get_blob_client(PATH).create_snapshot()
        stored_clips.delete_all(PATH.removesuffix("0.mp4"))
        assert list(container.list_blobs(include=["snapshots"])) == []


def test_what_azure_would_refuse_is_refused_at_once(clips: Clips) -> None:
    """Limits that emulators do not know are ValueErrors here, before a byte is sent."""
    clips.stage(PATH, "0000", b"data")
    for step in (
        lambda: clips.stage(PATH, "x" * 65, b"data"),
        lambda: clips.stage(PATH, "é", b"data"),
        lambda: clips.stage(PATH, "", b"data"),
        lambda: clips.stage(PATH, "0001", b""),
        lambda: clips.stage("p" * 1025, "0000", b"data"),
        lambda: clips.put("", b"data", content_type="image/jpeg"),
        lambda: clips.find("p" * 1025),
        lambda: clips.signed_url("p" * 1025, in_an_hour()),
        lambda: commit(clips, []),
        lambda: commit(clips, ["0000", "00001"]),
        lambda: commit(clips, ["0000"] * 50_001),
        lambda: commit(clips, ["0000"], metadata={"title": "Frühling"}),
        lambda: commit(clips, ["0000"], metadata={"title": "two\r\nlines"}),
        lambda: commit(clips, ["0000"], metadata={"title": " padded "}),
        lambda: commit(clips, ["0000"], metadata={"not-a-name": "x"}),
        lambda: commit(clips, ["0000"], metadata={"job": "a", "JOB": "b"}),
        lambda: commit(clips, ["0000"], metadata={"big": "x" * 8190}),
        lambda: commit(clips, ["0000"], filename='a".mp4'),
        lambda: commit(clips, ["0000"], filename="ü.mp4"),
    ):
        with pytest.raises(ValueError):
            step()
    assert clips.find(PATH) is None
    assert clips.staged(PATH) == [StagedBlock("0000", 4)]


def test_limits_are_reached_not_just_approached(clips: Clips) -> None:
    """A path of 1,024 characters and metadata of 8 KiB are fine."""
    path = "p" * 1020 + ".mp4"
    clips.stage(path, "0000", b"data")
    metadata = {"big": "x" * 8189}
    assert commit(clips, ["0000"], path, metadata=metadata) == StoredClip(path, 4, "video/mp4", metadata)


def test_mixed_block_id_lengths_never_become_a_clip(clips: Clips) -> None:
    """Azure takes ids of one length only: refused when staged or, at the latest, when committed."""

    def mix() -> None:
        clips.stage(PATH, "1", b"data")
        clips.stage(PATH, "22", b"data")
        commit(clips, ["1", "22"])

    with pytest.raises(ValueError, match="length"):
        mix()
    assert clips.find(PATH) is None


def test_ping_makes_the_container(clips: Clips) -> None:
    """A fresh store passes, and again."""
    clips.ping()
    clips.ping()
    assert clips.find(PATH) is None


def test_a_signed_url_names_its_path_and_end(clips: Clips) -> None:
    """On both sides the URL is absolute and carries the quoted path and the expiry."""
    url = clips.signed_url(PATH, datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc))
    assert "/user_ada%40example.com/videos/0198-job~2F/0.mp4?" in url
    assert "se=2030-01-02T03%3A04%3A05" in url
    assert "sp=r&" in url


def test_a_clip_is_served_as_a_browser_needs_it(stored_clips: BlobClips) -> None:
    """Type, cache, file name and metadata as served over HTTP; ranges for seeking."""
    stored_clips.stage(PATH, "0000", b"0123456789")
    commit(stored_clips, ["0000"])
    url = stored_clips.signed_url(PATH, in_an_hour())
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer.headers["Content-Disposition"] == 'inline; filename="video_0198_0.mp4"'
    assert answer.headers["x-ms-meta-digest"] == METADATA["digest"]
    part = requests.get(url, headers={"Range": "bytes=4-6"}, timeout=10)
    assert (part.status_code, part.content) == (206, b"456")


def test_a_replaceable_blob_is_not_cached_for_a_year(stored_clips: BlobClips) -> None:
    """What `put` writes may change, so browsers keep it an hour."""
    stored_clips.put(PATH, b"jpeg", content_type="image/jpeg")
    answer = requests.get(stored_clips.signed_url(PATH, in_an_hour()), timeout=10)
    assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == ("image/jpeg", "private, max-age=3600")


def test_a_signed_url_reads_one_blob_and_no_more(stored_clips: BlobClips) -> None:
    """No writing, no deleting, no listing, no other blob, no reading without the signature."""
    neighbour = PATH.replace("0.mp4", "1.mp4")
    for path in (PATH, neighbour):
        stored_clips.stage(path, "0000", b"data")
        commit(stored_clips, ["0000"], path)
    url = stored_clips.signed_url(PATH, in_an_hour())
    bare, signature = url.split("?")
    put_blob = {"x-ms-blob-type": "BlockBlob"}
    assert requests.get(url, timeout=10).status_code == 200
    assert requests.put(url, data=b"theirs", headers=put_blob, timeout=10).status_code == 403
    assert requests.delete(url, timeout=10).status_code == 403
    assert requests.get(url.replace("0.mp4?", "1.mp4?"), timeout=10).status_code == 403
    assert (
        requests.get(f"{bare.split('/user_')[0]}?restype=container&comp=list&{signature}", timeout=10).status_code
        == 403
    )
    assert requests.get(bare, timeout=10).status_code == 403
    assert content(stored_clips) == b"data"


def test_a_signed_url_ends(stored_clips: BlobClips) -> None:
    """A URL of two seconds reads at first and is refused soon after."""
    stored_clips.put(PATH, b"data", content_type="image/jpeg")
    url = stored_clips.signed_url(PATH, datetime.now(timezone.utc) + timedelta(seconds=2.5))
    assert requests.get(url, timeout=10).status_code == 200
    deadline = time.monotonic() + 10
    while (status := requests.get(url, timeout=10).status_code) == 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status == 403


def test_each_block_travels_with_its_md5(stored_clips: BlobClips, caplog: pytest.LogCaptureFixture) -> None:
    """So the service notices bytes that changed on the way."""
    with caplog.at_level("DEBUG", logger="azure"):
        stored_clips.stage(PATH, "0000", b"data")
    assert "'Content-MD5': 'REDACTED'" in caplog.text


def test_logs_hold_no_key_and_no_signature(
    stored_clips: BlobClips, connection: StorageConnection, caplog: pytest.LogCaptureFixture
) -> None:
    """Even at DEBUG the SDK's log names neither; at INFO and above it is silent about a job's every request."""
    with caplog.at_level("DEBUG"):
        stored_clips.stage(PATH, "0000", b"data")
        commit(stored_clips, ["0000"])
        stored_clips.signed_url(PATH, in_an_hour())
        with pytest.raises(MissingBlocks):
            commit(stored_clips, ["0000"], "elsewhere")
    assert "comp=REDACTED" in caplog.text
    assert "sig=" not in caplog.text
    assert connection.account_key not in caplog.text
    assert [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"] == []


def test_an_unreachable_store_fails_the_ping(nowhere: StorageConnection) -> None:
    """A ping tells that nobody answers instead of hanging on."""
    clips = BlobClips(nowhere)
    with pytest.raises(AzureError):
        clips.ping()
    clips.close()
