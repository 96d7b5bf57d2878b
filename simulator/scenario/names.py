"""The devices of a scenario by name, alone and in groups, in one household or in many.

Owns how names are made: a table with a count of 3 gives tv-1, tv-2 and tv-3, and `tv` then means all of
them; the 17th of 600 households has h017-tv. Inside this package a device goes by its name within the
household, and the household by its prefix, empty where there is only one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from simulator.scenario.schema import Device, Names, Scenario
from simulator.scenario.wrong import Place, Wrong, nearest

ANY = "any"
"""Stands for all devices of a household."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", re.ASCII)
_MOST_DEVICES = 20_000


class Roster:
    """Who there is."""

    def __init__(self, scenario: Scenario) -> None:
        """Name all devices; raise Wrong where two would have the same name."""
        _check_number(scenario)
        self.prefixes = _prefixes(scenario.households)
        self._numbers = {prefix: number for number, prefix in enumerate(self.prefixes, 1)}
        self._groups: dict[str, tuple[str, ...]] = {}
        self._tables: dict[str, Device] = {}
        for index, table in enumerate(scenario.devices):
            self._add(("devices", index, "name"), table)
        self._here = {prefix: self._living_in(prefix) for prefix in self.prefixes}

    def _add(self, place: Place, table: Device) -> None:
        members = _members(table)
        _check_name(place, table.name)
        for name in (table.name, *members):
            if name in self._groups or name in self._tables:
                raise Wrong(place, f"two devices are called '{name}'; give each table a name of its own")
        self._groups[table.name] = members
        self._tables.update(dict.fromkeys(members, table))

    @property
    def tables(self) -> Mapping[str, Device]:
        """The table of each device, by its name within a household."""
        return self._tables

    @property
    def known(self) -> tuple[str, ...]:
        """Every name that can be used."""
        return tuple(dict.fromkeys([*self._groups, *self._tables, ANY]))

    def names(self, prefix: str) -> tuple[str, ...]:
        """Return the devices of one household."""
        return self._here[prefix]

    def pick(self, words: Names, prefix: str, place: Place) -> tuple[str, ...]:
        """Return the devices of one household that are meant, in the order in which they were named.

        A name that belongs to another household means nobody here. Raises Wrong for an unknown one.
        """
        listed = (words,) if isinstance(words, str) else words
        meant = dict.fromkeys(name for word in listed for name in self._meant(word, prefix, place))
        return tuple(name for name in meant if self._lives_in(name, prefix))

    def _living_in(self, prefix: str) -> tuple[str, ...]:
        return tuple(name for name in self._tables if self._lives_in(name, prefix))

    def _lives_in(self, name: str, prefix: str) -> bool:
        return self._numbers[prefix] % self._tables[name].one_in == 0

    def _meant(self, word: str, prefix: str, place: Place) -> tuple[str, ...]:
        if word == ANY:
            return tuple(self._tables)
        if word in self._groups:
            return self._groups[word]
        if word in self._tables:
            return (word,)
        bare = self._without_prefix(word)
        if bare is None:
            raise Wrong(place, f"no device is called '{word}'; {nearest(word, self.known)}")
        return self._meant(bare, prefix, place) if word == prefix + bare else ()

    def _without_prefix(self, word: str) -> str | None:
        head, dash, bare = word.partition("-")
        is_known = head + dash in self._numbers and (bare in self._groups or bare in self._tables)
        return bare if dash and is_known else None


def said(names: Names) -> str:
    """Return names as one word."""
    return names if isinstance(names, str) else "+".join(names)


def _prefixes(households: int | None) -> tuple[str, ...]:
    if households is None:
        return ("",)
    width = len(str(households))
    return tuple(f"h{number:0{width}d}-" for number in range(1, households + 1))


def _members(table: Device) -> tuple[str, ...]:
    if table.count == 1:
        return (table.name,)
    width = len(str(table.count))
    return tuple(f"{table.name}-{number:0{width}d}" for number in range(1, table.count + 1))


def _check_name(place: Place, name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise Wrong(place, f"'{name[:60]}' is no name; use up to 40 letters, digits, '-' and '_'")
    if name == ANY:
        raise Wrong(place, f"'{ANY}' means all devices and cannot be the name of one")


def _check_number(scenario: Scenario) -> None:
    """Refuse more devices than a machine holds, before any of them gets a name."""
    households = scenario.households or 1
    number = sum((table.count or 1) * (households // table.one_in) for table in scenario.devices)
    if number > _MOST_DEVICES:
        raise Wrong(("devices",), f"these are {number} devices in all; {_MOST_DEVICES} are the most")
