from bench.running.sizes import amount


def test_amounts_are_written_with_their_unit() -> None:
    assert amount(8 * 2**30) == "8.0 GiB"
    assert amount(640 * 2**20) == "640 MiB"
