"""How much is too much, by a clock the test holds."""

from hypothesis import given
from hypothesis import strategies as st

from ossia.server.http import quotas
from ossia.server.http.quotas import ConcurrencyLimit, RateLimit, WrongKeys


def test_a_minutes_worth_may_come_at_once_and_then_one_a_second():
    rates = RateLimit(60)
    assert [rates.wait("a", 0.0) for _ in range(61)] == [0] * 60 + [1]
    assert [rates.wait("a", 1.0), rates.wait("a", 1.0)] == [0, 1]


def test_each_caller_has_a_rate_of_its_own():
    rates = RateLimit(1)
    assert [rates.wait("a", 0.0), rates.wait("b", 0.0), rates.wait("a", 0.0)] == [0, 0, 60]


def test_no_bound_bounds_nobody():
    assert {RateLimit(None).wait("a", 0.0) for _ in range(1000)} == {0}


@given(st.lists(st.floats(0, 20), max_size=200), st.integers(1, 100))
def test_never_more_than_a_burst_and_the_rate(gaps, per_minute):
    rates, now, passed = RateLimit(per_minute), 0.0, 0
    for gap in gaps:
        now += gap
        passed += rates.wait("a", now) == 0
    assert passed <= per_minute + now * per_minute / 60 + 1e-6


@given(st.lists(st.floats(0, 5), max_size=50), st.integers(1, 10))
def test_who_waits_as_told_may_go_on(gaps, per_minute):
    rates, now = RateLimit(per_minute), 0.0
    for gap in gaps:
        now += gap
        if wait := rates.wait("a", now):
            now += wait + 1e-6
            assert rates.wait("a", now) == 0


def test_the_callers_kept_are_bounded(monkeypatch):
    monkeypatch.setattr(quotas, "MAX_CALLERS", 2)
    rates, wrong = RateLimit(1), WrongKeys(1, 60)
    for caller in "abc":
        assert rates.wait(caller, 0.0) == 0
        wrong.count(caller, 0.0)
    assert [rates.wait(caller, 0.0) for caller in "bca"] == [60, 60, 0]
    assert [wrong.wait(caller, 0.0) for caller in "abc"] == [0, 60, 60]


def test_only_so_many_run_at_once():
    running = ConcurrencyLimit(2)
    assert [running.begin("a"), running.begin("a"), running.begin("a")] == [True, True, False]
    assert running.begin("b")
    running.end("a")
    assert running.begin("a")
    running.end("b")
    assert [running.begin("b"), running.begin("b"), running.begin("b")] == [True, True, False]
    assert all(ConcurrencyLimit(None).begin("a") for _ in range(100))


def test_wrong_keys_close_an_address_for_a_while():
    wrong = WrongKeys(2, 60)
    wrong.count("1.2.3.4", 0.0)
    assert wrong.wait("1.2.3.4", 0.0) == 0
    wrong.count("1.2.3.4", 10.0)
    assert wrong.wait("1.2.3.4", 10.0) == 50
    assert wrong.wait("1.2.3.5", 10.0) == 0
    assert wrong.wait("1.2.3.4", 60.0) == 0
    wrong.count("1.2.3.4", 60.0)
    assert wrong.wait("1.2.3.4", 60.0) == 0


def test_one_customers_ipv6_addresses_count_as_one():
    wrong = WrongKeys(1, 60)
    wrong.count("2001:db8::1", 0.0)
    wrong.count("::ffff:9.9.9.9", 0.0)
    wrong.count("", 0.0)
    assert wrong.wait("2001:db8::2", 0.0) == 60
    assert wrong.wait("2001:db8:0:1::1", 0.0) == 0
    assert wrong.wait("9.9.9.9", 0.0) == 60
    assert wrong.wait("", 0.0) == 60
