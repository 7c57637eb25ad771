import json
import struct
import zlib

import numpy as np

from ossia.train.plot import HEIGHT, INK, WIDTH, as_png, losses, main, picture


def unpacked(png):
    """Pixels of an unfiltered PNG, its checksums verified."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size]) == (
            zlib.crc32(kind + body),
        )
        chunks[kind] = body
        at += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


def test_a_picture_survives_its_packing():
    drawn = picture([(0.0, 6.0), (1.0, 3.0), (2.0, 1.0)])
    assert (unpacked(as_png(drawn)) == drawn).all()


def test_a_falling_loss_is_a_falling_line():
    drawn = picture([(n / 10, 6 - n / 2) for n in range(11)])
    rows, columns = np.nonzero((drawn == INK).all(axis=2))
    assert rows[columns.argmin()] < rows[columns.argmax()]
    assert columns.max() - columns.min() > WIDTH // 2


def test_the_log_is_read_and_validations_are_left_out(tmp_path):
    lines = [{"tokens": 2_000_000, "loss": 1.5}, {"step": 3, "validation_loss": 1.0}]
    log = "\n".join(map(json.dumps, lines))
    assert losses(log.splitlines()) == [(2.0, 1.5)]
    (tmp_path / "log.jsonl").write_text(log)
    main([str(tmp_path)])
    assert unpacked((tmp_path / "loss.png").read_bytes()).shape == (HEIGHT, WIDTH, 3)


def test_an_empty_log_is_an_empty_picture():
    assert picture([]).shape == (HEIGHT, WIDTH, 3)
