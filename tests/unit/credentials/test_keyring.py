"""Keys of a ring: which one is next, which one rests and why, and that nothing of them can be seen."""

from __future__ import annotations

import copy
import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.failures import Failure, FailureKind
from gateway.credentials.keyring import KNOCK_SECONDS, Key, KeyBook, KeyRing, KeyState, fingerprint_of
from gateway.domain import ProviderSpec
from gateway.resilience import consequences
from gateway.secret import Secret
from tests.resilience.scenery import deployment

SPEC = ProviderSpec(id="p", display_name="P", protocol="openai", base_url="http://127.0.0.1:9/v1")
REFUSED = Failure(FailureKind.AUTH, "refused", status=401)


def ring(keys: int, *, model: str = "m", book: KeyBook | None = None) -> KeyRing:
    return KeyRing(SPEC, tuple(Secret(f"sk-{n}") for n in range(keys)), model=model, state_of=book or KeyBook())


def turn(keys: KeyRing, now: float) -> int:
    """The number of the key whose turn it is, which is then used; 0 if all rest."""
    key = keys.pick(now)
    if key is None:
        return 0
    keys.used(key, now)
    return key.number


def cool(key: Key, seconds: float, now: float = 0.0, *, is_told: bool = True) -> None:
    key.state.cool(seconds, now, is_told=is_told, failure=REFUSED)


# Turns.


def test_keys_are_used_in_turn() -> None:
    keys = ring(3)
    assert [turn(keys, 0) for _ in range(7)] == [1, 2, 3, 1, 2, 3, 1]


def test_looking_whose_turn_it_is_takes_no_turn() -> None:
    keys = ring(3)
    assert [keys.pick(0) for _ in range(3)] == [keys.keys[0]] * 3


def test_no_credential_at_all_is_a_ring_of_one() -> None:
    keys = KeyRing(SPEC)
    assert (turn(keys, 0), turn(keys, 0), keys.is_empty, keys.secrets, keys.headers()) == (1, 1, True, (), ())


def test_keys_that_rest_are_passed_over_until_they_have_rested() -> None:
    keys = ring(3)
    cool(keys.keys[1], 10)
    assert [turn(keys, 9.9) for _ in range(4)] == [1, 3, 1, 3]
    assert [turn(keys, 10) for _ in range(4)] == [1, 2, 3, 1]


def test_if_all_rest_there_is_none_and_the_first_to_be_back_is_known() -> None:
    keys = ring(3)
    for key, seconds in zip(keys.keys, (30, 10, 20), strict=True):
        cool(key, seconds)
    assert (turn(keys, 5), keys.wait(5), keys.wait(40)) == (0, 5, 0)


def test_keys_that_a_request_has_used_may_be_left_out() -> None:
    keys = ring(2)
    first, second = keys.keys
    assert keys.pick(0, {first.state}) is second
    assert keys.pick(0, {first.state, second.state}) is None


def test_a_key_of_which_nothing_is_left_comes_after_the_others_and_before_none() -> None:
    keys = ring(3)
    keys.keys[0].state.exhausted_until = 60
    assert [turn(keys, 0) for _ in range(4)] == [2, 3, 2, 3]
    for key in keys.keys:
        key.state.exhausted_until = 60
    assert turn(keys, 0) in (1, 2, 3)
    assert [turn(keys, 60) for _ in range(3)].count(0) == 0


@given(resting=st.lists(st.booleans(), min_size=1, max_size=6), turns=st.integers(1, 60))
def test_turns_are_shared_evenly_among_those_that_do_not_rest(resting: list[bool], turns: int) -> None:
    keys = ring(len(resting))
    for key, rests in zip(keys.keys, resting, strict=True):
        if rests:
            cool(key, 10)
    counts = Counter(turn(keys, 1) for _ in range(turns))
    awake = [number for number, rests in enumerate(resting, 1) if not rests]
    assert set(counts) <= (set(awake) or {0})
    if awake:
        assert max(counts.values()) - min(counts[number] for number in awake) <= 1


# What is known of an account, and of a key with one model.


@pytest.mark.parametrize(
    ("kind", "status", "rests_everywhere"),
    [
        (FailureKind.AUTH, 401, True),
        (FailureKind.QUOTA, 402, True),
        (FailureKind.AUTH, 403, False),
        (FailureKind.QUOTA, 429, False),
        (FailureKind.RATE_LIMIT, 429, False),
        (FailureKind.RATE_LIMIT, None, False),
    ],
)
def test_what_is_true_of_the_account_rests_for_all_models_and_the_rest_for_one(
    kind: FailureKind, status: int | None, rests_everywhere: bool
) -> None:
    book = KeyBook()
    one, other = (deployment(model, provider="p", model=model, book=book) for model in ("one", "two"))
    running = consequences.begin(one, one.key_ring.keys[0], 0.0, is_first=True, charged=None)
    consequences.fail(running, Failure(kind, "m", status=status), 0.0)
    consequences.end(running, 0.0)
    assert one.key_ring.pick(0.5) is None
    assert (other.key_ring.pick(0.5) is None) is rests_everywhere


def test_a_key_of_two_deployments_with_the_same_model_is_one_and_the_same() -> None:
    book = KeyBook()
    one, two = ring(2, book=book), ring(2, book=book)
    cool(one.keys[0], 10)
    assert (turn(two, 0), turn(two, 0)) == (2, 2)


def test_a_key_that_works_again_is_forgiven_what_we_guessed_but_not_what_was_told() -> None:
    guessed, told = KeyState("g"), KeyState("t")
    guessed.cool(600, 0, is_told=False, failure=REFUSED)
    told.cool(600, 0, is_told=True, failure=REFUSED)
    for state in (guessed, told):
        state.strikes = 3
        state.succeeded(0.0)
    assert (guessed.cooling_until, guessed.strikes, guessed.last_failure) == (0, 0, None)
    assert (told.cooling_until, told.strikes, told.last_failure) == (600, 0, REFUSED)


@pytest.mark.parametrize(
    ("first", "second", "until"),
    [
        ((60, True), (10, True), 60),
        ((60, True), (90, True), 91),
        ((60, True), (600, False), 60),
        ((600, False), (10, True), 11),
        ((10, False), (600, False), 601),
    ],
)
def test_a_pause_that_was_told_is_shortened_by_nothing(
    first: tuple[float, bool], second: tuple[float, bool], until: float
) -> None:
    state = KeyState("x")
    state.cool(first[0], 0, is_told=first[1], failure=REFUSED)
    state.cool(second[0], 1, is_told=second[1], failure=REFUSED)
    assert state.cooling_until == until


def test_the_state_that_rests_longest_says_why() -> None:
    key = ring(1).keys[0]
    cool(key, 10)
    key.account.cool(20, 0, is_told=False, failure=REFUSED)
    assert (key.resting(5), key.wait(5)) == (key.account, 15)
    assert (key.resting(20), key.wait(20)) == (None, 0)


# Keys that were put aside.


def test_a_key_put_aside_may_be_knocked_at_from_time_to_time() -> None:
    keys = ring(1)
    cool(keys.keys[0], 600, is_told=False)
    assert keys.knock(KNOCK_SECONDS - 0.1) is None
    key = keys.knock(KNOCK_SECONDS)
    assert key is keys.keys[0]
    keys.used(key, KNOCK_SECONDS)
    assert keys.knock(KNOCK_SECONDS + 0.1) is None
    assert keys.knock(2 * KNOCK_SECONDS) is key


def test_a_key_that_was_told_to_rest_is_not_knocked_at() -> None:
    keys = ring(2)
    cool(keys.keys[0], 600)
    cool(keys.keys[1], 600, is_told=False)
    keys.keys[1].account.cool(600, 0, is_told=True, failure=REFUSED)
    assert keys.knock(300) is None


def test_a_key_that_the_request_has_used_is_not_knocked_at() -> None:
    keys = ring(1)
    cool(keys.keys[0], 600, is_told=False)
    assert keys.knock(300, {keys.keys[0].state}) is None


# The book.


def test_the_book_is_bounded_and_keeps_what_says_something() -> None:
    book = KeyBook(most=10)
    busy, struck = book("busy"), book("struck")
    busy.in_flight, struck.strikes = 1, 2
    for number in range(100):
        book(f"name-{number}")
    assert (book.find("busy"), book.find("struck")) == (busy, struck)
    assert len(book._states) <= 10


def test_what_another_replica_told_is_kept_as_well() -> None:
    book = KeyBook(most=10)
    book("told").cool(600, 1000, is_told=True, failure=REFUSED)
    for number in range(100):
        book(f"name-{number}")
    assert book("told").cooling_until == 1600


def test_the_book_is_bounded_even_if_something_is_held_against_every_key() -> None:
    book = KeyBook(most=10)
    for number in range(1000):
        book(f"name-{number}").strikes = 1
    assert len(book._states) <= 10
    assert book.find("name-999") is not None


def test_the_book_finds_only_what_is_there() -> None:
    book = KeyBook()
    assert book.find("x") is None
    assert book.find("x") is None
    state = book("x")
    assert book.find("x") is state
    assert book("x") is state


def test_fingerprints_differ_by_provider_model_and_secret_and_by_nothing_else() -> None:
    prints = {
        fingerprint_of(provider, secret, model)
        for provider in ("p", "q")
        for model in ("", "m", "n")
        for secret in (None, Secret("a"), Secret("b"))
    }
    assert len(prints) == 18
    assert fingerprint_of("p", Secret("a"), "m") == fingerprint_of("p", Secret("a"), "m")
    assert fingerprint_of("p", None, "q") != fingerprint_of("p\0q", None)


# Nothing can be seen.


def test_a_ring_and_its_keys_show_nothing() -> None:
    keys = KeyRing(SPEC, (Secret("sk-canary-1"), Secret("sk-canary-2")), model="m", state_of=KeyBook())
    shown = "".join([repr(keys), str(keys), f"{keys}", repr(keys.keys), str(keys.keys[0]), repr(keys.secrets)])
    shown += repr([getattr(keys.keys[0].state, name) for name in KeyState.__slots__])
    assert "canary" not in shown
    assert repr(keys) == "KeyRing(p, 2)"
    assert repr(keys.keys[1]) == "Key(2)"


@pytest.mark.parametrize("pick", [lambda keys: keys, lambda keys: keys.keys[0], lambda keys: keys.secrets])
def test_what_holds_a_secret_can_be_neither_pickled_nor_copied_in_depth(pick: object) -> None:
    assert callable(pick)
    held = pick(ring(1))
    for attempt in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(held)


def test_a_copy_of_a_ring_has_the_same_turn_and_a_life_of_its_own() -> None:
    keys = ring(3)
    turn(keys, 0)
    copies: dict[KeyState, KeyState] = {}
    twin = keys.copy(lambda state: copies.setdefault(state, state.copy()))
    assert (turn(twin, 0), turn(twin, 0), turn(keys, 0)) == (2, 3, 2)
    cool(twin.keys[0], 10)
    assert keys.keys[0].wait(0) == 0
    assert [secret.reveal() for secret in twin.secrets] == [secret.reveal() for secret in keys.secrets]
