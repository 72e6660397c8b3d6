from towline.worker.remembered import Remembered


def test_a_value_is_made_once() -> None:
    # given
    made: list[str] = []
    remembered: Remembered[str, str] = Remembered(10)
    # when
    values = [remembered.get("a", lambda: made.append("a") or "value") for _ in range(3)]
    # then
    assert values == ["value"] * 3
    assert made == ["a"]


def test_it_never_holds_more_than_its_limit_and_drops_the_oldest() -> None:
    # given
    remembered: Remembered[int, int] = Remembered(16)
    # when
    for number in range(100):
        remembered.get(number, lambda: 7)
        assert len(remembered) <= 16
    # then
    made: list[int] = []
    remembered.get(99, lambda: made.append(99) or 7)
    assert made == []  # the newest is still known
    remembered.get(0, lambda: made.append(0) or 7)
    assert made == [0]  # the oldest is not
