"""The real app with a kill switch in every door to the outside, and with waits that are short enough for a test.

1. Shorten the waits of the policy; what is decided is not touched, only how long it takes.
2. Load the real function_app.py and replace its `services`, which every function calls once per run.
3. Put the switch into the durable client as well: starting an orchestration is a write, too.
"""

import importlib.util
import os
from datetime import datetime, timedelta
from pathlib import Path

from azure.durable_functions import DurableOrchestrationClient
from killswitch import Switch

from reelkeeper import policy
from triggers import sweep

ROOT = Path(__file__).parents[3]

policy.START_GRACE = timedelta(seconds=2)
policy.STEP_GRACE = timedelta(seconds=4)
policy.UNCLEAR_PAUSE = 0.5


def poll_interval(elapsed: float, retry_after: float | None = None) -> float:
    return max(0.5, retry_after or 0.0)


def next_download_at(attempts: int, now: datetime, expires_at: datetime | None) -> datetime:
    return now + timedelta(seconds=2)


vars(policy).update(poll_interval=poll_interval, next_download_at=next_download_at, CONTENT_WAITS=(0,) * 40)

if forget := os.environ.get("FAULTS_FORGET_SECONDS"):
    vars(sweep)["FORGET_AFTER"] = timedelta(seconds=float(forget))

if block := os.environ.get("FAULTS_BLOCK_BYTES"):
    from reelkeeper.providers import http

    policy.BLOCK_BYTES = int(block)
    http.CHUNK_BYTES = int(block) // 2

spec = importlib.util.spec_from_file_location("real_function_app", ROOT / "function_app.py")
assert spec is not None
assert spec.loader is not None
real = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real)

switch = Switch(Path(os.environ["FAULTS_FOLDER"]))
make_services = real.services
vars(real)["services"] = lambda: switch.guard(make_services())
switch.guard_client(DurableOrchestrationClient)
app = real.app
