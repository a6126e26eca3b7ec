"""One connection speaks in a session: the newest that its client knows of."""

import pytest

from server.api.sessions import Sessions
from server.errors import Superseded


class Lost(list):
    """Who has lost the session, in order."""

    def to(self, name: str):
        return lambda: self.append(name)


def test_who_takes_a_session_over_has_it_and_the_other_is_told():
    sessions, lost = Sessions(600), Lost()
    first = sessions.open("s", lost.to("first"))
    second = sessions.take("s", first.generation, lost.to("second"), 0)
    assert lost == ["first"] and second.generation == 2 and list(sessions) == [second]
    sessions.leave(first)  # which comes late, and takes nothing away
    assert list(sessions) == [second]


def test_an_answer_that_was_lost_may_be_asked_for_again():
    sessions, lost = Sessions(600), Lost()
    sessions.open("s", lost.to("first"))
    generations = [sessions.take("s", 1, lost.to(f"take {n}"), 0).generation for n in range(3)]
    assert generations == [2, 3, 4] and lost == ["first", "take 0", "take 1"]


def test_once_the_client_goes_on_older_tickets_are_refused_until_they_have_expired():
    sessions, lost = Sessions(600), Lost()
    hold = sessions.take("s", 1, lost.to("first"), 0)
    sessions.prove(hold, 10)
    sessions.leave(hold)
    with pytest.raises(Superseded):
        sessions.take("s", 1, lost.to("second"), 600)
    assert sessions.take("s", 2, lost.to("third"), 600).generation == 3
    sessions.take("other", 1, lost.to("other"), 611)
    assert not sessions._fences


def test_a_refused_ticket_takes_nothing_from_the_owner():
    sessions, lost = Sessions(600), Lost()
    hold = sessions.take("s", 1, lost.to("owner"), 0)
    sessions.prove(hold, 0)
    with pytest.raises(Superseded):
        sessions.take("s", 1, lost.to("late"), 0)
    assert not lost and list(sessions) == [hold]


def test_who_is_away_takes_no_place():
    sessions = Sessions(600)
    sessions.open("a", lambda: None).away = True
    sessions.open("b", lambda: None)
    assert (len(sessions), sessions.connected) == (2, 1)
