"""The virtual clock keeps order, stops where told, and does not hang."""

import pytest

from multiwanbond.errors import LocalProtocolError
from multiwanbond.sim.world import START, Timer, World


def test_things_happen_in_order_of_time_and_then_of_asking() -> None:
    world = World(seed=1)
    seen: list[str] = []
    world.call_in(2.0, lambda: seen.append("late"))
    world.call_in(1.0, lambda: seen.append("first"))
    world.call_in(1.0, lambda: seen.append("second"))

    world.run_for(5.0)

    assert seen == ["first", "second", "late"]
    assert world.now == START + 5.0


def test_running_until_a_condition_tells_how_long_it_took() -> None:
    world = World(seed=1)
    seen: list[float] = []
    world.call_in(0.5, lambda: seen.append(world.now))

    assert world.run_until(lambda: bool(seen), within=1.0) == 0.5


def test_an_unreached_condition_names_the_seed() -> None:
    world = World(seed=77)

    with pytest.raises(TimeoutError, match="seed 77"):
        world.run_until(lambda: False, within=1.0)


def test_a_livelock_fails_loudly() -> None:
    world = World(seed=1)

    def again() -> None:
        world.call_at(world.now, again)

    world.call_in(0.1, again)

    with pytest.raises(LocalProtocolError, match="livelock"):
        world.run_for(1.0)


def test_sources_of_chance_do_not_disturb_each_other() -> None:
    one, other = World(seed=5), World(seed=5)
    other.rng("somebody else").random()

    assert one.rng("link").random() == other.rng("link").random()
    assert one.rng("link").random() != one.rng("loss").random()


def test_a_timer_expires_at_its_last_deadline_only() -> None:
    world = World(seed=1)
    seen: list[float] = []
    timer = Timer(world, lambda: seen.append(world.now - START))
    timer.set(START + 1.0)
    timer.set(START + 3.0)
    world.run_for(0.5)

    timer.set(START + 2.0)
    world.run_for(10.0)

    assert seen == [2.0]


def test_a_timer_can_be_called_off() -> None:
    world = World(seed=1)
    seen: list[float] = []
    timer = Timer(world, lambda: seen.append(world.now))
    timer.set(START + 1.0)

    timer.set(None)
    world.run_for(5.0)

    assert seen == []
