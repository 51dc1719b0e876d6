"""The URLs that the durable extension hands out: the client binding's JSON and the management links of an instance.

Every public URL carries the durable system key: a function must not return them to strangers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

_PLACEHOLDER = "INSTANCEID"  # the SDK puts an instance's id in its place
_CONNECTION = "Storage"


class Links:
    """Builds URLs; `base` is the public durable API, `rpc` the SDK's private twin, both set once ports are known."""

    def __init__(self, hub: str, system_key: str) -> None:
        """Build URLs for one task hub."""
        self.base = ""
        self.rpc = ""
        self._hub, self._key = hub, system_key

    def client_binding(self, binding: Mapping[str, Any]) -> str:
        """Return the value of a `durableClient` input binding."""
        create = f"{self.base}/orchestrators/{{functionName}}[/{{instanceId}}]"
        hub = str(binding.get("taskHub") or self._hub)
        return json.dumps(
            {
                "taskHubName": hub,
                "connectionName": None,
                "creationUrls": {
                    "createNewInstancePostUri": f"{create}?code={self._key}",
                    "createAndWaitOnNewInstancePostUri": (
                        f"{create}?timeout={{timeoutInSeconds}}&pollingInterval={{intervalInSeconds}}&code={self._key}"
                    ),
                },
                "managementUrls": self.of_instance(_PLACEHOLDER, hub, binding.get("connectionName")),
                "baseUrl": self.base,
                "requiredQueryStringParameters": f"code={self._key}",
                "rpcBaseUrl": self.rpc,
                "httpBaseUrl": None,
            }
        )

    def of_instance(self, instance_id: str, hub: str | None = None, connection: str | None = None) -> dict[str, str]:
        """Return the management links of one instance, its id among them."""
        at = f"{self.base}/instances/{quote(instance_id, safe='')}"
        query = f"taskHub={quote(hub or self._hub)}&connection={quote(connection or _CONNECTION)}&code={self._key}"
        return {
            "id": instance_id,
            "statusQueryGetUri": f"{at}?{query}",
            "sendEventPostUri": f"{at}/raiseEvent/{{eventName}}?{query}",
            "terminatePostUri": f"{at}/terminate?reason={{text}}&{query}",
            "rewindPostUri": f"{at}/rewind?reason={{text}}&{query}",
            "purgeHistoryDeleteUri": f"{at}?{query}",
            "restartPostUri": f"{at}/restart?{query}",
            "suspendPostUri": f"{at}/suspend?reason={{text}}&{query}",
            "resumePostUri": f"{at}/resume?reason={{text}}&{query}",
        }
