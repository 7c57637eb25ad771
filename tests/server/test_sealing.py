import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.server.sealing import KEY_BYTES, Seal

SEAL = Seal(b"k" * KEY_BYTES)


@given(item_id=st.text("abcdefrs_0123456789", min_size=1), owner=st.text(max_size=20))
def test_what_was_sealed_is_understood_again(item_id, owner):
    assert SEAL.unseal(SEAL.seal(item_id, owner), owner) == item_id


def test_another_owner_and_another_key_understand_nothing():
    sealed = SEAL.seal("rs_1", "anna")
    assert SEAL.unseal(sealed, "berta") is None
    assert Seal(b"x" * KEY_BYTES).unseal(sealed, "anna") is None


@given(st.text() | st.binary(max_size=80).map(lambda raw: raw.hex()))
def test_any_other_text_means_nothing(text):
    assert SEAL.unseal(text, "anna") is None


def test_a_changed_character_means_nothing():
    sealed = SEAL.seal("rs_12", "")
    for at in range(0, len(sealed) - 4, 7):
        other = "A" if sealed[at] != "A" else "B"
        assert SEAL.unseal(sealed[:at] + other + sealed[at + 1 :], "") is None


def test_an_endless_text_is_not_even_decoded():
    assert SEAL.unseal("A" * 1028, "") is None


def test_the_key_stays_in_its_folder_for_this_user_alone(tmp_path):
    folder = tmp_path / "state"
    sealed = Seal.kept_in(folder).seal("rs_1", "")
    assert Seal.kept_in(folder).unseal(sealed, "") == "rs_1"
    assert (folder / "seal.key").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in folder.iterdir()] == ["seal.key"]


def test_half_a_key_is_made_anew(tmp_path):
    (tmp_path / "seal.key").write_bytes(b"short")
    Seal.kept_in(tmp_path)
    assert len((tmp_path / "seal.key").read_bytes()) == KEY_BYTES


def test_a_key_of_another_length_is_a_bug():
    with pytest.raises(AssertionError):
        Seal(b"short")
