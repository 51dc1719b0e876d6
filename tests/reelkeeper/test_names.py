"""Names are pure, unique and fit to be stored, for any owner and any time."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelkeeper import names

# every character there is, half surrogates too; with a taste for those that escaping itself uses
OWNERS = st.text(st.characters(exclude_categories=()) | st.sampled_from("~./\\#?%@-_27EF")) | st.text(
    st.sampled_from("~a/.é"), min_size=190, max_size=260
)
MOMENTS = st.integers(1_577_836_800_000, 4_733_510_400_000).map(lambda millis: names.utc(millis / 1000))  # to 2120


@given(st.lists(OWNERS, min_size=2, max_size=2, unique=True))
def test_two_owners_never_share_a_name(owners: list[str]) -> None:
    """Different owners have different partitions and folders."""
    first, second = owners
    assert names.safe_owner(first) != names.safe_owner(second)


@given(OWNERS)
def test_a_name_tells_its_owner_or_that_it_was_shortened(owner: str) -> None:
    """Undoing the escapes gives the owner back; a shortened name shows a mark that no escape can make."""
    safe = names.safe_owner(owner)
    if "~~" not in safe:
        escaped = re.sub(r"~(..)", lambda match: chr(int(match[1], 16)), safe)
        assert escaped.encode("latin-1").decode("utf-8", "surrogatepass") == owner
    else:
        assert len(owner) * 12 > names.MAX_SAFE_OWNER


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/b", "a~2Fb"),
        ("a~", "a~7E"),
        ("a.", "a~2E"),
        ("é", "~C3~A9"),
        ("A", "a"),
        ("a", "a "),
        ("x" * 200, "x" * 201),
        ("x" * 300 + "a", "x" * 300 + "b"),
        ("é" * 34, "é" * 33 + "~C3~A9"),
    ],
)
def test_owners_that_look_alike_stay_apart(one: str, other: str) -> None:
    """The pairs that a careless escape would merge."""
    assert names.safe_owner(one) != names.safe_owner(other)


@given(OWNERS)
def test_an_owners_name_fits_keys_and_paths(owner: str) -> None:
    """Short, without what table keys or URLs forbid, not ending with a dot, and the same each time."""
    safe = names.safe_owner(owner)
    assert len(safe) <= names.MAX_SAFE_OWNER
    assert re.fullmatch(r"[A-Za-z0-9_@.~-]*", safe)
    assert not safe.endswith(".")
    assert safe == names.safe_owner(owner)


def test_ordinary_owners_stay_readable() -> None:
    """What people see in the portal is the owner they know."""
    for owner in ("default", "ada@example.com", "user_2aBc-9", "b1d2.eu"):
        assert names.safe_owner(owner) == owner
    assert names.safe_owner("auth0|42") == "auth0~7C42"


@given(OWNERS)
def test_a_clip_path_fits_a_blob_name(owner: str) -> None:
    """At most 1,024 characters, no empty, dotted or dot-ending segment, inside the job's prefix."""
    job_id = names.new_job_id(names.utc(1_795_000_000))
    path = names.clip_path(owner, "videos", job_id, 3, "mp4")
    assert len(path) <= 1024
    assert path.startswith(names.job_prefix(owner, "videos", job_id))
    assert path.endswith("/3.mp4")
    assert path.count("/") == 3
    assert all(segment and not segment.endswith(".") for segment in path.split("/"))


@given(MOMENTS)
def test_a_job_id_is_a_uuid_of_its_time(now: datetime) -> None:
    """Version 7, the RFC's variant, the millisecond it was made in, and one that `is_job_id` knows."""
    job_id = names.new_job_id(now)
    value = uuid.UUID(job_id)
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert abs((value.int >> 80) - now.timestamp() * 1000) <= 1
    assert names.is_job_id(job_id)


def test_job_ids_of_one_moment_differ() -> None:
    """Chance fills what time leaves over."""
    now = names.utc(1_795_000_000)
    assert len({names.new_job_id(now) for _ in range(1000)}) == 1000


@given(st.integers(0, 2**128 - 1))
def test_jobs_of_a_batch_have_ids_of_their_own(number: int) -> None:
    """All of one millisecond with their batch, in the order of their index, each a job id, none the batch's own."""
    batch_id = str(uuid.UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62))
    members = [names.member_id(batch_id, index) for index in range(100)]
    assert members == sorted(set(members))
    assert all(map(names.is_job_id, members))
    assert {uuid.UUID(member).int >> 80 for member in members} == {number >> 80}
    assert batch_id not in members


def test_a_repeated_batch_names_the_same_jobs() -> None:
    """In every version for ever: these are the ids in the records. Another batch of the moment has others."""
    batch_id = "019aa0d5-2b1d-7abc-8def-0123456789ab"
    assert names.member_id(batch_id, 0) == "019aa0d5-2b1d-7000-ae22-d8444d358df3"
    assert names.member_id(batch_id, 99) == "019aa0d5-2b1d-7063-8d51-84b19f39438e"
    other = batch_id.replace("7abc", "7abd")
    assert not {names.member_id(batch_id, i) for i in range(100)} & {names.member_id(other, i) for i in range(100)}


@pytest.mark.parametrize(
    ("batch_id", "index"), [("019aa0d5-2b1d-7abc-8def-0123456789ab", -1), ("", 0), ("nonsense", 0)]
)
def test_what_no_batch_has_has_no_id(batch_id: str, index: int) -> None:
    """An index outside 0 to 99 would break the order, and only an id can name a batch."""
    with pytest.raises(ValueError, match="batch"):
        names.member_id(batch_id, index)
    with pytest.raises(ValueError, match="batch"):
        names.member_id("019aa0d5-2b1d-7abc-8def-0123456789ab", 100)


def test_a_keys_digest_is_its_sha_256() -> None:
    """The records hold it, so it never changes."""
    assert names.key_digest("key") == "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"
    assert names.key_digest("half \ud83c") != names.key_digest("half \ud83d")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "0198f5a0-0000-7000-8000-00000000000",
        "0198F5A0-0000-7000-8000-000000000000",
        "0198f5a0-0000-4000-8000-000000000000",
        "0198f5a0-0000-7000-c000-000000000000",
        "{0198f5a0-0000-7000-8000-000000000000}",
        "0198f5a0000070008000000000000000",
        "0198f5a0-0000-7000-8000-000000000000\n",
        "０198f5a0-0000-7000-8000-000000000000",
    ],
)
def test_other_text_is_no_job_id(text: str) -> None:
    """Only the one spelling that we give out: a record has one key."""
    assert not names.is_job_id(text)


@given(MOMENTS, st.timedeltas(timedelta(milliseconds=2), timedelta(days=3650)))
def test_row_keys_sort_newest_first(older: datetime, later: timedelta) -> None:
    """A newer job's key is smaller, so a plain scan shows it first."""
    old, new = names.new_job_id(older), names.new_job_id(older + later)
    assert names.row_key(new) < names.row_key(old)


@given(MOMENTS)
def test_a_row_key_follows_from_the_job_id(now: datetime) -> None:
    """No look-up needed: fixed width, safe characters, and the id itself at its end."""
    job_id = names.new_job_id(now)
    assert re.fullmatch(r"[0-9a-f]{12}-.{36}", names.row_key(job_id))
    assert names.row_key(job_id).endswith(job_id)


def test_jobs_spread_over_all_shards() -> None:
    """No shard of sixteen gets more than twice its share of jobs of one moment."""
    counts = [0] * 16
    for _ in range(4000):
        counts[int(names.shard(names.new_job_id(names.utc(1_795_000_000)), 16))] += 1
    assert 125 < min(counts) <= max(counts) < 500


def test_file_names_tell_kind_job_and_index() -> None:
    """What a person finds in the downloads folder."""
    assert names.file_name("videos", "abc", 0, "mp4") == "video_abc_0.mp4"
    assert names.file_name("images", "abc", 12, "jpg") == "image_abc_12.jpg"


def test_timestamps_become_utc() -> None:
    """Epoch seconds are aware times."""
    assert names.utc(0) == datetime(1970, 1, 1, tzinfo=timezone.utc)
