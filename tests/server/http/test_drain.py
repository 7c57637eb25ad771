"""A server ends when its work has ended, or after its grace."""

from ossia.server.http.drain import Drain


def test_an_idle_server_ends_at_once_but_only_when_told():
    drain = Drain(30)
    assert not drain.over(0.0)
    drain.begin(10.0)
    assert drain.begun
    assert drain.over(10.0)


def test_work_that_runs_is_waited_for():
    drain = Drain(30)
    with drain.work():
        drain.begin(10.0)
        assert not drain.over(39.9)
        assert not drain.last_call.is_set()
    assert drain.over(39.9)


def test_after_the_grace_comes_a_last_call_and_a_second_later_the_end():
    drain = Drain(30)
    with drain.work():
        drain.begin(10.0)
        drain.begin(30.0)
        assert not drain.over(40.0)
        assert drain.last_call.is_set()
        assert not drain.over(40.9)
        assert drain.over(41.0)


def test_work_that_fails_has_ended_too():
    drain = Drain()
    try:
        with drain.work():
            raise ValueError
    except ValueError:
        assert drain.running == 0
