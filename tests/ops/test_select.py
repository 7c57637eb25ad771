import pytest

from ossia.errors import MissingExtra, UnsupportedDevice
from ossia.ops import select, select_ops
from ossia.ops.select import BACKENDS, OpsOptions, unavailable_reason


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_that_runs_says_its_name(name):
    if reason := unavailable_reason(name):
        pytest.skip(reason)
    assert select_ops(name).name == name


def test_auto_is_the_compiled_one():
    assert select_ops("auto", OpsOptions(threads=1)).name == "cpu"


def test_an_unknown_backend_is_refused_with_the_known_ones():
    with pytest.raises(UnsupportedDevice, match=r"no backend is called 'abacus'; choose reference"):
        select_ops("abacus")


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(select, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"backend torch needs torch.*ossia\[train\]"):
        select_ops("torch")
    assert "ossia[train]" in unavailable_reason("torch")
