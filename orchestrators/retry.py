"""How often an activity that raised is tried again: it raises only when our own storage fails, never for an answer.

When the tries run out the orchestration fails, and the sweep starts it again once its watchdog row is due.
"""

from __future__ import annotations

import azure.durable_functions as df

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=5_000, max_number_of_attempts=4)
