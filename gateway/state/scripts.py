"""What Redis does for us in one step each: the same arithmetic as `counters`, by the server's own clock.

The first key of a check is its counter; a budget has a second one, of what is held. Whatever is held has an end of its
own, so that a process that was killed frees its places and its money. Numbers are integers below 2^53, which is why
`string.format` writes them: Lua's own way of writing them rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from gateway.state.admission import MAX_NANO_USD, Charges, Check, Filled, Kind, is_rate, used

PREFIX: Final = "anyport:admission:"
"""What the names of all keys of admissions begin with."""
REPLICAS: Final = f"{PREFIX}replicas"
"""The set of those that are there and have told what they hold."""
_RATES_AT_ONCE: Final = 100
"""Nobody else is answered while one script runs."""
NOW: Final = "redis.call('TIME')"
"""Where the scripts have seconds and microseconds from."""
_SHAPES: Final = {Kind.REQUESTS: "rate", Kind.TOKENS: "rate", Kind.IN_FLIGHT: "places", Kind.BUDGET: "budget"}

# All is read, and what is over is forgotten, before anything is taken: an error on the way leaves nothing half done.
_COMMON: Final = """
local time = @NOW@
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local MOST, DAY = @MOST@, 86400000
local function whole(number) return string.format('%.0f', number) end

local function bucket(key, limit)
  local kept = redis.call('HMGET', key, 'level', 'at')
  local level, at = tonumber(kept[1]) or 0, tonumber(kept[2]) or now
  if at > now then  -- the clock was set back
    redis.call('HSET', key, 'at', whole(now))
    at = now
  end
  return math.max(0, level - (now - at) * limit)
end

local function fill(key, level, limit)
  level = math.min(MOST, math.max(0, level))
  redis.call('HSET', key, 'level', whole(level), 'at', whole(now))
  local life = limit > 0 and math.min(DAY, math.ceil(level / limit)) or 60000
  redis.call('PEXPIRE', key, whole(life + 1000))
end

local function places(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now))
  return redis.call('ZCARD', key)
end

local function purse(key, held_key, known)
  local over = redis.call('ZRANGEBYSCORE', held_key, '-inf', whole(now), 'LIMIT', 0, 100)
  for _, member in ipairs(over) do
    redis.call('ZREM', held_key, member)
    local is_there = redis.call('EXISTS', key) == 1
    if is_there then redis.call('HINCRBY', key, 'held', '-' .. string.match(member, '^%d+')) end
  end
  local kept = redis.call('HMGET', key, 'spent', 'held')
  local spent, held = tonumber(kept[1]) or known, math.max(0, tonumber(kept[2]) or 0)
  return math.min(MOST, math.max(spent, known) + held), spent, held
end

local function take_place(key, lease, life)
  redis.call('ZADD', key, whole(now + life), lease)
  redis.call('PEXPIRE', key, whole(life))
end

local function hold(key, held_key, spent, held, take, lease, life)
  redis.call('HSET', key, 'spent', whole(spent), 'held', whole(held + take))
  redis.call('ZADD', held_key, whole(now + life), whole(take) .. ':' .. lease)
  redis.call('PEXPIRE', key, whole(math.max(DAY, 2 * life)))
  redis.call('PEXPIRE', held_key, whole(math.max(DAY, 2 * life)))
end
"""

# KEYS: the lease, then those of each check, then the set of replicas. ARGV: this replica, the lease's name, the lives
# of a place and of held money, then for each check its shape, take, capacity, limit, and what is known to be spent.
# Returns whether it was taken, the levels before, and what of each is held; nothing if the server knows nothing of this
# replica and what it holds, or if the settlement has come already, over another connection.
_ADMIT: Final = """
if not redis.call('ZSCORE', KEYS[#KEYS], ARGV[1]) or redis.call('EXISTS', KEYS[1]) == 1 then return {} end
local lease, place_life, life = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local checks, answer, fits, at_key = {}, {1}, 1, 2
for at = 5, #ARGV, 5 do
  local check = {
    shape = ARGV[at], take = tonumber(ARGV[at + 1]), capacity = tonumber(ARGV[at + 2]),
    limit = tonumber(ARGV[at + 3]), known = tonumber(ARGV[at + 4]), key = KEYS[at_key],
  }
  at_key = at_key + 1
  if check.shape == 'rate' then
    check.level = bucket(check.key, check.limit)
  elseif check.shape == 'places' then
    check.level = places(check.key)
  else
    check.held_key = KEYS[at_key]
    at_key = at_key + 1
    check.level, check.spent, check.held = purse(check.key, check.held_key, check.known)
  end
  if check.level + check.take > check.capacity then fits = 0 end
  checks[#checks + 1] = check
  answer[#answer + 1] = check.level
end
for _, check in ipairs(checks) do answer[#answer + 1] = check.held or 0 end
if fits == 1 then
  redis.call('SET', KEYS[1], '1', 'PX', whole(life))
  for _, check in ipairs(checks) do
    if check.shape == 'rate' then
      fill(check.key, check.level + check.take, check.limit)
    elseif check.shape == 'places' then
      take_place(check.key, lease, place_life)
    else
      hold(check.key, check.held_key, check.spent, check.held, check.take, lease, life)
    end
  end
end
answer[1] = fits
return answer
"""

# KEYS: the lease, then those of each check; none is a rate. ARGV: the lease's name, the lives of a place and of held
# money, then for each check its shape, take, and what is known to be spent. Takes what a replica holds already, unless
# the server knows that.
_HOLD: Final = """
local lease, place_life, life = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if not redis.call('SET', KEYS[1], '1', 'PX', whole(life), 'NX') then return 0 end
local at_key = 2
for at = 4, #ARGV, 3 do
  local key, take = KEYS[at_key], tonumber(ARGV[at + 1])
  at_key = at_key + 1
  if ARGV[at] == 'places' then
    take_place(key, lease, place_life)
  else
    local _, spent, held = purse(key, KEYS[at_key], tonumber(ARGV[at + 2]))
    hold(key, KEYS[at_key], spent, held, take, lease, life)
    at_key = at_key + 1
  end
end
return 1
"""

# KEYS: counters of rates. ARGV: for each its limit, how far it is filled as far as a replica has heard, and what that
# one has taken since, of which nobody else knows. Of what several have heard the most counts; it may come twice.
_FILL: Final = """
for at = 1, #KEYS do
  local limit, level, alone = tonumber(ARGV[3 * at - 2]), tonumber(ARGV[3 * at - 1]), tonumber(ARGV[3 * at])
  fill(KEYS[at], math.max(bucket(KEYS[at], limit), level) + alone, limit)
end
return 1
"""

# KEYS: as above, of all checks. ARGV: the lease's name, then for each check its shape, what was taken, what was used,
# its limit.
_SETTLE: Final = """
if redis.call('GET', KEYS[1]) ~= '1' then
  -- A question that is still on its way over a connection that was given up finds this, and takes nothing.
  redis.call('SET', KEYS[1], '0', 'PX', 60000)
  return 0
end
redis.call('DEL', KEYS[1])
local lease, at_key = ARGV[1], 2
for at = 2, #ARGV, 4 do
  local shape, take, used, limit = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local key = KEYS[at_key]
  at_key = at_key + 1
  if shape == 'rate' then
    if used ~= take then fill(key, bucket(key, limit) + used - take, limit) end
  elseif shape == 'places' then
    redis.call('ZREM', key, lease)
  else
    local held_key = KEYS[at_key]
    at_key = at_key + 1
    local was_held = redis.call('ZREM', held_key, whole(take) .. ':' .. lease) == 1
    local kept = redis.call('HMGET', key, 'spent', 'held')
    if kept[1] then  -- else the ledger will know
      local held = tonumber(kept[2]) or 0
      if was_held then held = math.max(0, held - take) end
      local spent = math.min(MOST, tonumber(kept[1]) + used)
      redis.call('HSET', key, 'spent', whole(spent), 'held', whole(held))
    end
  end
end
return 1
"""

# KEYS: the set of replicas, then counters of places. ARGV: this replica, for how long it counts as there, the life of a
# place, whether it has just told what it holds, then a lease for each of the counters, which lives on if it is still
# there. Returns how many replicas there are, 0 to one that the server does not know.
_BEAT: Final = """
if ARGV[4] == '0' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
local life, place_life = tonumber(ARGV[2]), tonumber(ARGV[3])
-- First what a server that is out of memory refuses: after another write it would not look.
redis.call('ZADD', KEYS[1], whole(now + life), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
redis.call('PEXPIRE', KEYS[1], whole(life))
for at = 2, #KEYS do
  redis.call('ZADD', KEYS[at], 'XX', whole(now + place_life), ARGV[at + 3])
  redis.call('PEXPIRE', KEYS[at], whole(place_life))
end
return redis.call('ZCARD', KEYS[1])
"""


Spent = Callable[[Check], int]
"""A budget -> what is known to be spent of it."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and what the server knows it by."""

    source: str
    digest: str


@dataclass(frozen=True, slots=True)
class Command:
    """A script with what it is run with."""

    script: Script
    keys: tuple[str, ...]
    arguments: tuple[str | int, ...]


class Scripts:
    """All scripts, and what each is to be given."""

    def __init__(self, *, replica: str, place_seconds: float, lease_seconds: float, now: str = NOW) -> None:
        """A place of a dead replica is free after `place_seconds`, money that it held after `lease_seconds`."""
        self.admit, self.hold = _script(_ADMIT, now), _script(_HOLD, now)
        self.settle, self.beat = _script(_SETTLE, now), _script(_BEAT, now)
        self.fill = _script(_FILL, now)
        self._replica = replica
        self._place_ms = int(place_seconds * 1000)
        self._lease_ms = int(lease_seconds * 1000)

    @property
    def all(self) -> tuple[Script, ...]:
        """Those that a server has to know."""
        return (self.admit, self.hold, self.settle, self.beat, self.fill)

    def admission(self, lease: str, checks: Sequence[Check], spent: Spent) -> Command:
        """Takes all or nothing; the answer is 1 or 0, then the levels before, then what is held of each.

        It is empty where the server does not know this replica.
        """
        name = self._name(lease)
        arguments: list[str | int] = [self._replica, name, self._place_ms, self._lease_ms]
        for check in checks:
            known = spent(check) if check.kind is Kind.BUDGET else 0
            arguments += (_SHAPES[check.kind], check.take, check.capacity, check.limit, known)
        return Command(self.admit, (*_keys(name, checks), REPLICAS), tuple(arguments))

    def holding(
        self, lease: str, checks: Sequence[Check], spent: Spent, *, life_seconds: float | None = None
    ) -> Command:
        """Takes what is held already, once for each lease, for that long; none of the checks is a rate."""
        name = self._name(lease)
        life_ms = self._lease_ms if life_seconds is None else int(life_seconds * 1000)
        arguments: list[str | int] = [name, self._place_ms, life_ms]
        for check in checks:
            arguments += (_SHAPES[check.kind], check.take, spent(check) if check.kind is Kind.BUDGET else 0)
        return Command(self.hold, _keys(name, checks), tuple(arguments))

    def filling(self, rates: Sequence[Filled]) -> Iterator[Command]:
        """Tells how far rates are filled: not less than has been heard, and what was taken alone beside that."""
        for start in range(0, len(rates), _RATES_AT_ONCE):
            part = rates[start : start + _RATES_AT_ONCE]
            arguments = (number for rate in part for number in (rate.limit, rate.level, rate.alone))
            yield Command(self.fill, tuple(PREFIX + rate.name for rate in part), tuple(arguments))

    def settlement(self, lease: str, checks: Sequence[Check], charges: Charges) -> Command:
        """Corrects what was taken, once for each lease."""
        name = self._name(lease)
        arguments: list[str | int] = [name]
        for check in checks:
            limit = check.limit if is_rate(check.kind) else 0
            arguments += (_SHAPES[check.kind], check.take, used(check, charges), limit)
        return Command(self.settle, _keys(name, checks), tuple(arguments))

    def heartbeat(self, life_seconds: float, places: Sequence[tuple[str, str]], *, is_first: bool) -> Command:
        """Says that this replica is there, at first that it has told what it holds, and its leases of these counters.

        The answer counts replicas; it is 0 from a server that does not know this one, unless that is said at first.
        """
        keys = (REPLICAS, *(PREFIX + counter for counter, _ in places))
        names = (self._name(lease) for _, lease in places)
        arguments = (self._replica, int(life_seconds * 1000), self._place_ms, int(is_first), *names)
        return Command(self.beat, keys, arguments)

    def _name(self, lease: str) -> str:
        return f"{self._replica}:{lease}"


def _keys(name: str, checks: Sequence[Check]) -> tuple[str, ...]:
    keys = [f"{PREFIX}lease:{name}"]
    for check in checks:
        key = PREFIX + check.name
        keys.append(key)
        if check.kind is Kind.BUDGET:
            keys.append(f"{key}:held")
    return tuple(keys)


def _script(text: str, now: str) -> Script:
    source = _COMMON.replace("@NOW@", now).replace("@MOST@", str(MAX_NANO_USD)) + text
    return Script(source, sha1(source.encode(), usedforsecurity=False).hexdigest())
