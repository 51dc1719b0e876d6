"""The rig of the fault tests: the app as a process that may die, the simulated provider and the storage, which live on.

1. `App` runs `python -m emulator.functions` on the harness app in `app/`: start, kill, release, stop.
2. `Rig` holds one data folder with its app, provider and orders; it submits jobs as a stubborn client would.
3. `Rig.check_all` says of every job what is wrong with it, after comparing record, provider and storage.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
from azure.storage.blob import ContainerClient
from wishes import CANCELLED, COMPLETED, DELETED, IMAGE, PICTURED, VIDEO, Submission

from emulator.sora.simulator import Simulator
from reelkeeper import names
from reelkeeper.model import Job
from reelkeeper.records.tables import Tables
from reelkeeper.storage import StorageConnection

ROOT = Path(__file__).parents[2]
APP = Path(__file__).parent / "app"
KEY = "a-key"
IMAGE_MODEL = "gpt-image-1.5"
PARKED = "submit_unknown"
FAR = datetime(2999, 1, 1, tzinfo=timezone.utc)
Orders = Mapping[str, str | Sequence[str]]


class App:
    """The process under test. `folder` keeps its task hub, log and orders over all its lives."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self._environment = folder, environment
        self.url, self.starts, self.kills = "", 0, 0
        self._process: subprocess.Popen[str] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, at: Orders | None = None, *, how: str = "hold", rate: float = 0.0, seed: int = 0) -> bool:
        """Start on the same data; False when it died, as ordered, before it served."""
        orders = {"at": dict(at or {}), "how": how, "rate": rate, "seed": seed}
        (self.folder / "orders.json").write_text(json.dumps(orders))
        self.starts += 1
        command = [sys.executable, "-m", "emulator.functions", "--root", APP, "--data", self.folder / "hub"]
        with (self.folder / "app.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*map(str, command), "--port", "0", "--rpc-port", "0", "--stop-with-parent"],
                cwd=ROOT,
                env={**os.environ, **self._environment, "FAULTS_FOLDER": str(self.folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.url = line.removeprefix("ready ").strip()
        if not line and self._end() != -signal.SIGKILL:
            raise AssertionError((self.folder / "app.log").read_text()[-4000:])
        return bool(line)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL; harmless when the switch was faster."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._end()

    def durable(self, method: str, path: str, body: Any = None) -> Any:
        """Ask or tell the durable extension, as an operator does."""
        keys = json.loads((self.folder / "hub" / "keys.json").read_text())["systemKeys"]
        url = f"{self.url}/runtime/webhooks/durabletask/{path}"
        code = {"code": keys["durabletask_extension"], "showInput": "false"}
        answer = requests.request(method, url, params=code, json=body, timeout=30)
        return answer.json() if answer.ok else None

    def sweep(self) -> None:
        """Run a sweep now, beside those on schedule."""
        with suppress(requests.RequestException):  # it may kill the app at once
            requests.post(f"{self.url}/admin/functions/sweep", json={}, timeout=30)

    def busy(self) -> bool:
        """Whether any orchestration has not ended."""
        ended = ("Completed", "Failed", "Terminated", "Canceled")
        return any(one["runtimeStatus"] not in ended for one in self.durable("GET", "instances"))

    def release(self) -> None:
        """Let every held call go on."""
        os.kill(self.pid, signal.SIGUSR1)

    def lose_hub(self) -> None:
        """Delete the task hub: every history, timer and queued activity is gone. Only while it does not run."""
        for file in (self.folder / "hub").glob("durable.sqlite*"):
            file.unlink()

    def reached(self) -> dict[str, str]:
        """Owner -> the point at which its job was stopped last."""
        return dict(self.lines("reached.log"))

    def lines(self, name: str) -> list[tuple[str, str]]:
        path = self.folder / name
        rows = path.read_text().splitlines() if path.exists() else []
        return [(owner, point) for owner, _, point in (row.partition("\t") for row in rows)]

    def _end(self) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        code = process.wait(30)
        self.kills += code == -signal.SIGKILL
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        return code


class Rig:
    """App, provider and storage. `environment` are further settings of the app, `provider` of the simulator."""

    def __init__(
        self,
        folder: Path,
        connection_string: str,
        *,
        provider: Mapping[str, Any] | None = None,
        **environment: str,
    ) -> None:
        self.simulator = Simulator(folder / "sora", api_key=KEY, **{"media": "tiny", **(provider or {})}).start()
        container = f"faults-{os.getpid()}"
        self._container = ContainerClient.from_connection_string(connection_string, container)
        self._tables = Tables(StorageConnection(connection_string=connection_string))
        for left_behind in self._tables.watchdog.due(FAR, 10_000):  # by a test that failed
            self._tables.watchdog.unwatch(left_behind.job_id)
        settings = {
            "AzureWebJobsStorage": connection_string,
            "AZURE_SORA_ENDPOINT": self.simulator.url,
            "AZURE_API_KEY": KEY,
            "IMAGE_ENDPOINT": self.simulator.url,
            "IMAGE_API_KEY": KEY,
            "IMAGE_MODEL": IMAGE_MODEL,
            "MEDIA_CONTAINER": container,
            "SWEEP_SCHEDULE": "* * * * * *",
            "SUBMIT_GRACE_SECONDS": "3",
            "PYTHON_THREADPOOL_THREAD_COUNT": "512",
        }
        self.app = App(folder / "app", {**settings, **environment})
        self.wishes: dict[str, Submission] = {}
        self.over: set[str] = set()
        self._began = self._noted()
        self._clients = ThreadPoolExecutor(32, "client")
        self._askers = ThreadPoolExecutor(256, "asker")  # each may be held

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.app.stop()
        self.simulator.stop()
        self._clients.shutdown()
        self._askers.shutdown()
        self._tables.close()
        self._container.close()

    def wish(self, owners: Iterable[str], variants: int = 1, what: str = VIDEO) -> list[Submission]:
        made = [Submission(owner, f"a boat for {owner}", what, variants) for owner in owners]
        self.wishes.update({one.owner: one for one in made})
        return made

    def submit(self, wishes: Iterable[Submission]) -> list[Future[None]]:
        """POST them side by side, once each."""
        posts = []
        for wish in wishes:
            wish.post = self._clients.submit(self._post, wish)
            posts.append(wish.post)
        return posts

    def _post(self, wish: Submission) -> None:
        url, headers = f"{self.app.url}/api/{wish.kind}/generate", {"Idempotency-Key": "once", "X-User-Id": wish.owner}
        with suppress(requests.RequestException):
            answer = requests.post(url, json=wish.body(), headers=headers, timeout=60)
            if answer.ok:
                wish.job_id = answer.json()["job_id"]

    def cancel(self, wish: Submission) -> None:
        """Ask once, and do not wait for the answer."""
        self._ask(wish, "POST", "/cancel")

    def delete(self, wish: Submission) -> None:
        """The same."""
        self._ask(wish, "DELETE", "")

    def _ask(self, wish: Submission, method: str, what: str) -> None:
        def ask() -> None:
            with suppress(requests.RequestException):
                url = f"{self.app.url}/api/{wish.kind}/{wish.job_id}{what}"
                answer = requests.request(method, url, headers={"X-User-Id": wish.owner}, timeout=60)
                wish.answers.append(answer.status_code)

        wish.asked = self._askers.submit(ask)

    def _jobs(self, wish: Submission) -> list[Job]:
        return self._tables.jobs.page(wish.owner, wish.kind, limit=100)[0]

    def watched(self) -> set[str]:
        """Owners whose job the sweep still looks after."""
        return {row.owner for row in self._tables.watchdog.due(FAR, 10_000)}

    def kill(self) -> None:
        """Kill the app; on return its clients know that they get no answer."""
        self.app.kill()
        wait([one for wish in self.wishes.values() for one in (wish.post, wish.asked) if one])

    def find(self, wish: Submission) -> Job | None:
        """The record of a wish, whether the client knows of it or not."""
        return next(iter(self._jobs(wish)), None)

    def polled(self) -> set[str]:
        """Owners whose task has been looked at."""
        polls = self.simulator.stats()["polls_by_task"]
        prompts = {task["prompt"] for task in self.simulator.tasks() if task["id"] in polls}
        return {wish.owner for wish in self.wishes.values() if wish.prompt in prompts}

    def submit_unanswered(self) -> list[Future[None]]:
        """Ask again for every client that was left without an answer."""
        left = [wish for wish in self.wishes.values() if not wish.job_id and (wish.post is None or wish.post.done())]
        return self.submit(left)

    def render(self, wish: Submission, suffix: str = "") -> bool:
        """Start another `render` of a job, under its own id or one beside it; whether the durable host did."""
        job = self.find(wish)
        assert job is not None
        work = json.dumps({"owner": job.owner, "job_id": job.job_id})
        return self.app.durable("POST", f"orchestrators/render/{job.job_id}{suffix}", work) is not None

    def unfinished(self) -> list[str]:
        """Owners whose job is neither over nor parked."""
        open_ones = self._by_status()
        return [owner for status, owners in open_ones.items() if status != PARKED for owner in owners]

    def parked(self) -> list[str]:
        """Owners of jobs that nobody can tell whether they are paid for."""
        return self._by_status()[PARKED]

    def _by_status(self) -> defaultdict[str, list[str]]:
        """The owners of all jobs that have not come to one of their ends; of images alone may be parked."""
        found = defaultdict[str, list[str]](list)
        for owner, wish in self.wishes.items():
            if owner in self.over:
                continue
            job = self.find(wish)
            if _end(wish, job) in wish.ends:
                self.over.add(owner)
            else:
                found[job.status if job and (job.status != PARKED or wish.what == IMAGE) else ""].append(owner)
        return found

    def settled(self) -> bool:
        """Whether all jobs are over and their watchdog rows gone, or parked."""
        left = self._by_status()
        return left.keys() <= {PARKED} and self.watched() == set(left[PARKED])

    def complete(self, seconds: float) -> bool:
        """Wait until all is settled; whether it was in time.

        Then every client that never got an answer asks once more, to learn the id of the job that it has.
        """
        done = until(self.settled, seconds, pause=0.2)
        for post in self.submit_unanswered():
            post.result()
        return done

    def finish_tasks(self) -> None:
        """Let every task that still runs succeed now."""
        for task in self.simulator.tasks():
            if task["phase"] != "succeeded":
                self.simulator.force(task["id"], "succeeded")

    def finish_wanted(self) -> None:
        """The same for the tasks of jobs that shall be completed."""
        running = {task["id"] for task in self.simulator.tasks() if task["phase"] != "succeeded"}
        for wish in self.wishes.values():
            if COMPLETED in wish.ends and (job := self.find(wish)) and job.task_id in running:
                self.simulator.force(job.task_id, "succeeded")

    def noted(self, status: str = COMPLETED) -> int:
        """How many jobs have been counted as ended so since this rig was made."""
        return self._noted()[status] - self._began[status]

    def _noted(self) -> Counter[str]:
        today = datetime.now(timezone.utc).date()
        days = (today, today - timedelta(days=1))  # it may be midnight
        return sum((Counter(self._tables.outcomes.counts(day)) for day in days), Counter[str]())

    def check_all(self) -> dict[str, list[str]]:
        """Owner -> what is wrong with a job that should be at its end by now; [] when nothing is."""
        watched, parked = self.watched(), set(self.parked())
        accepted = self.simulator.stats()["accepted_by_prompt"]
        least, most = Counter[str](), Counter[str]()
        for wish in self.wishes.values():
            least[wish.prompt] += min(wish.creates)
            most[wish.prompt] += max(wish.creates)
        tasks = Counter(job.task_id for wish in self.wishes.values() if (job := self.find(wish)))
        checks = {owner: self._clients.submit(self._check, wish, tasks) for owner, wish in self.wishes.items()}
        wrong = {owner: check.result() for owner, check in checks.items()}
        for owner, wish in self.wishes.items():
            low, made, high = least[wish.prompt], accepted.get(wish.prompt, 0), most[wish.prompt]
            if not low <= made <= high:
                wrong[owner].append(f"{made} creates were accepted, not {low} to {high}")
            if (owner in watched) != (owner in parked):
                wrong[owner].append("its watchdog row is still there" if owner in watched else "nobody watches it")
        return wrong

    def _check(self, wish: Submission, tasks: Counter[str | None]) -> list[str]:
        wrong: list[str] = []
        jobs = self._jobs(wish)
        if not set(wish.answers) <= {202, 204, 409}:
            wrong.append(f"its client was answered {wish.answers}")
        if (not jobs and DELETED in wish.ends) or 204 in wish.answers:
            return wrong + self._check_gone(wish, jobs)
        if [job.job_id for job in jobs] != [wish.job_id]:
            return [*wrong, f"the client was told {wish.job_id!r}, the records are {[job.job_id for job in jobs]}"]
        job = jobs[0]
        if job.task_id and tasks[job.task_id] > 1:
            wrong.append(f"another job has its task {job.task_id}, too")
        if job.status == CANCELLED and CANCELLED in wish.ends:
            return wrong + self._check_cancelled(wish, job)
        if 202 in wish.answers:
            wrong.append("its cancel was answered 202")
        if job.status == PARKED and 0 in wish.may_keep:
            return wrong
        if job.status not in wish.ends:
            return [*wrong, f"it is {job.status}: {job.fault}"]
        url = f"{self.app.url}/api/{wish.kind}/{job.job_id}/result"
        result = requests.get(url, headers={"X-User-Id": wish.owner}, timeout=30).json()
        kept = result[wish.kind]
        if len(kept) not in wish.may_keep or [one["output_id"] for one in kept] != [
            one.output_id for one in job.outputs
        ]:
            wrong.append(f"{len(kept)} of {wish.variants} outputs are kept")
        if result["warning"] != wish.warning(len(kept)):
            wrong.append(f"{len(kept)} of {wish.variants} outputs are kept, and the warning is {result['warning']!r}")
        check = self._check_picture if wish.what == IMAGE else self._check_files
        return wrong + [problem for one in kept for problem in check(wish, one)]

    def _check_cancelled(self, wish: Submission, job: Job) -> list[str]:
        wrong = [f"it is cancelled, but {name} is kept" for name in self._blobs(wish)] + self._left(wish)
        if (job.stage, job.fault) != ("done", None):
            wrong.append(f"it is cancelled, but {job.stage}: {job.fault}")
        warned, billed = bool(job.warning), wish.what == IMAGE and bool(self._tasks_of(wish))
        if (wish.what != IMAGE and warned) or (billed and not warned):
            wrong.append(f"it is cancelled, and the warning is {job.warning!r}")
        return wrong

    def _check_gone(self, wish: Submission, jobs: list[Job]) -> list[str]:
        wrong = [f"it is deleted, but {name} is kept" for name in self._blobs(wish)]
        if jobs:
            wrong.append(f"it is deleted, but there is a record: {jobs[0].status}")
        return wrong + (self._left(wish) if 202 in wish.answers else [])

    def _blobs(self, wish: Submission) -> list[str]:
        return list(self._container.list_blob_names(name_starts_with=f"user_{names.safe_owner(wish.owner)}/"))

    def _left(self, wish: Submission) -> list[str]:
        """What the provider still has of a cancelled video, and is no other job's."""
        if wish.what == IMAGE:
            return []
        twins = [one for one in self.wishes.values() if one.prompt == wish.prompt]
        held = {job.task_id for one in twins if (job := self.find(one)) and job.status != CANCELLED}
        left = [task["id"] for task in self._tasks_of(wish) if not task["deleted"] and task["id"] not in held]
        return [f"it is cancelled, but {one} is at the provider" for one in left]

    def _check_files(self, wish: Submission, video: Mapping[str, Any]) -> list[str]:
        wrong, source = [], self.source(video["output_id"])
        pictured = [bool(task["extra"].get("inpaint_items")) for task in self._tasks_of(wish)]
        if wish.what == PICTURED and not any(pictured):
            wrong.append("no task of it was given the picture that it starts from")
        if sha256(video["file_url"]) != sha256(f"{source}/video"):
            wrong.append(f"video {video['output_id']} has the wrong bytes")
        if video["thumbnail_url"] is None or sha256(video["thumbnail_url"]) != sha256(f"{source}/thumbnail"):
            wrong.append(f"the thumbnail of {video['output_id']} is missing or has the wrong bytes")
        return wrong

    def _check_picture(self, wish: Submission, picture: Mapping[str, Any]) -> list[str]:
        """Its bytes are those of one of the job's tasks, at its place in the answer."""
        place = int(picture["output_id"].rpartition("_")[2])
        made = [task["outputs"][place] for task in self._tasks_of(wish)]
        sources = {sha256(f"{self.simulator.url}/_cdn/openai-images/{one}.jpg") for one in made}
        return [] if sha256(picture["file_url"]) in sources else [f"picture {place} has the wrong bytes"]

    def _tasks_of(self, wish: Submission) -> list[dict[str, Any]]:
        return [task for task in self.simulator.tasks() if task["prompt"] == wish.prompt]

    def source(self, output_id: str) -> str:
        """Where the provider has an output's files."""
        return f"{self.simulator.url}/openai/v1/video/generations/{output_id}/content"


def _end(wish: Submission, job: Job | None) -> str:
    """How a job has ended; "" while it has not."""
    if job is None:
        return DELETED if wish.job_id else ""
    return job.status if job.status != CANCELLED or job.stage == "done" else ""


def sha256(url: str) -> str:
    """The digest of what a URL holds, read in pieces."""
    digest = hashlib.sha256()
    with requests.get(url, headers={"api-key": KEY}, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        for piece in answer.iter_content(1024 * 1024):
            digest.update(piece)
    return digest.hexdigest()


def until(good: Callable[[], bool], seconds: float, pause: float = 0.1) -> bool:
    """Whether `good` came true in time."""
    deadline = time.monotonic() + seconds
    while not good():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
