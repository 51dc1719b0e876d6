"""What every adapter tells of the provider that it was configured as."""

from __future__ import annotations

from reelkeeper.providers.abilities import Abilities
from reelkeeper.providers.base import ProviderConfig


class Configured:
    """The attributes of `Provider` that stand in its configuration; `documented`: what its dialect's servers can make.

    `dialect` and `lists` are each adapter's own.
    """

    def __init__(self, config: ProviderConfig, documented: Abilities) -> None:
        self.name, self.kind, self.model = config.name, config.kind, config.model
        self.host, self.place, self.terms = config.host, config.place, config.terms
        self.grace, self.fallback = config.grace, config.fallback
        self.abilities = config.abilities(documented)
