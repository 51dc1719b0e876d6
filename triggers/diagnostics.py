"""GET /api/diagnostics: everything that the operator can get wrong, each with its cause and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import azure.functions as func

from triggers.answers import json_answer


def get_diagnostics(env: Mapping[str, str], root: Path) -> func.HttpResponse:
    """200 with ``{ok, checks: [{name, ok, detail, fix}]}``, whatever is found. `root`: where host.json is.

    Takes seconds, bounded by the diagnosis itself; makes no generation and shows no secret.
    """
    from reelkeeper.diagnosis.diagnose import diagnose  # only now: it would slow the start of every worker

    return json_answer(diagnose(env, root).to_dict())
