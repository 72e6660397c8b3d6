from towline.worker.appointments import SPARE, Appointments


def test_what_is_due_is_taken_once_the_earliest_first():
    due = Appointments()
    for name, when in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
        due.set(name, when)

    assert (due.next(), due.take(0.5)) == (1.0, [])
    assert due.take(2.0) == ["a", "b"]
    assert (due.next(), due.take(2.0)) == (3.0, [])


def test_a_time_that_is_moved_counts_as_it_is_now():
    due = Appointments()
    due.set("later", 1.0)
    due.set("later", 5.0)
    due.set("sooner", 4.0)
    due.advance("sooner", 2.0)
    due.advance("sooner", 3.0)

    assert due.take(4.0) == ["sooner"]
    assert due.next() == 5.0
    assert due.take(5.0) == ["later"]
    assert due.next() == float("inf")


def test_times_that_are_moved_again_and_again_do_not_pile_up():
    due = Appointments()
    for number in range(10 * SPARE):
        due.set("one", float(number))
        due.set("other", 1e9)

    assert len(due._heap) <= SPARE + 10
    assert due.take(1e6) == ["one"]
    due.clear()
    assert (due.next(), due.take(1e10)) == (float("inf"), [])
