import re

from ossia.server.responses.objects import ResponseSettings, new_id


def test_an_id_says_what_it_names_and_is_never_the_same():
    first, second = new_id("msg"), new_id("msg")
    assert re.fullmatch("msg_[0-9a-f]{48}", first)
    assert first != second


def test_settings_that_were_not_given_are_said_as_they_are_used():
    fields = ResponseSettings(model="nano").echoed_fields()
    assert fields["text"] == {"format": {"type": "text"}}
    assert fields["reasoning"] == {"effort": "medium", "summary": None}
    assert (fields["temperature"], fields["top_p"], fields["tool_choice"]) == (1.0, 1.0, "auto")
    assert fields["store"] is True
    assert fields["tools"] == []
