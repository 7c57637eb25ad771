"""The head of a request, before anyone acts on it: here with servers other than uvicorn in mind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.server.addresses import OurNames
from ossia.server.api.errors import HttpError
from ossia.server.http.headers import Head, body_length, check_content, check_names, check_size

NAMES = st.sampled_from(
    ["host", "origin", "content-length", "transfer-encoding", "content-type", "upgrade",
     "sec-fetch-site", "content-encoding", "x"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["", "localhost", "localhost:8000", "http://localhost", "null", "5", "-1", "+5", "0", "chunked",
     "application/json", "text/plain", "gzip", "identity", "websocket", "same-origin", "1" * 30,
     "٣"]
) | st.text(max_size=9)  # fmt: skip


def head(*fields, method="POST", path="/", **scope):
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in fields]
    found = {"method": method, "path": path, "query_string": b"", "headers": raw, **scope}
    return Head.of(found)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.sampled_from(["GET", "POST"]))
def test_any_head_passes_or_is_refused_in_words(fields, method):
    found = head(*fields, method=method)
    try:
        check_size(found, max_url_bytes=100, max_bytes=1000, max_fields=100)
        check_names(found, OurNames(()))
        length = body_length(found)
        check_content(found, length)
    except HttpError as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert 400 <= refusal.status < 500
        return
    [host] = found.fields["host"]
    assert host.startswith("localhost")
    assert length is None or length >= 0
    if length != 0:
        [media] = found.fields["content-type"]
        assert media.partition(";")[0].strip().lower() == "application/json"


@pytest.mark.parametrize("length", ["-1", "+5", "0x5", "5, 5", "", " 5", "٣", "1" * 19])
def test_a_length_that_is_no_number_is_refused(length):
    with pytest.raises(HttpError, match="content-length must be one whole number"):
        body_length(head(("content-length", length)))


def test_a_body_in_chunks_does_not_say_how_long_it_is():
    assert body_length(head(("transfer-encoding", "Chunked"))) is None
    assert body_length(head()) == 0
    assert body_length(head(("content-length", "12"))) == 12


def test_a_head_is_measured_as_it_came():
    found = head(("Host", "a"), ("host", "b"), path="/a b", raw_path=b"/a%20b", query_string=b"c=d")
    assert found.url_bytes == len("/a%20b?c=d")
    assert found.fields == {"host": ("a", "b")}
    assert (found.num_fields, found.fields_bytes) == (2, 18)


def test_a_scope_without_addresses_has_none():
    assert (head().reached, head().client) == ("", "")
    found = head(client=("1.2.3.4", 5), server=("::1", 8000))
    assert (found.reached, found.client) == ("::1", "1.2.3.4")
