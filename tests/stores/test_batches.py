"""Many tasks that ask for a row each are answered by few questions, and by no old row."""

import asyncio

import pytest

from aplus_adapters.stores.batches import Batches


class Slow:
    """Answers each question only when it is told to, with what it knows then."""

    def __init__(self):
        self.rows = {f"k{number}": number for number in range(1000)}
        self.questions = []
        self.may_answer = asyncio.Event()

    async def read(self, keys):
        self.questions.append(keys)
        rows = {key: self.rows[key] for key in keys if key in self.rows}
        await self.may_answer.wait()
        if "bad" in keys:
            raise LookupError("the database is down")
        return rows


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


def test_two_hundred_tasks_are_answered_by_two_questions():
    async def main():
        slow = Slow()
        batches = Batches(slow.read)
        first = asyncio.create_task(batches.get("k7"))
        await turn()
        tasks = [asyncio.create_task(batches.get(f"k{number}")) for number in range(200)]
        await turn()
        slow.may_answer.set()
        assert await asyncio.gather(*tasks) == [*range(200)]
        assert await first == 7
        assert await batches.get("unknown") is None
        sizes = [len(keys) for keys in slow.questions]
        assert sizes == [1, 256, 1]  # few sizes, so that few statements are prepared

    asyncio.run(main())


def test_only_a_few_questions_are_on_their_way_at_once():
    async def main():
        slow = Slow()
        batches = Batches(slow.read)
        tasks = []
        for number in range(50):
            tasks.append(asyncio.create_task(batches.get(f"k{number}")))
            await turn()
        assert len(slow.questions) == 4
        slow.may_answer.set()
        assert await asyncio.gather(*tasks) == [*range(50)]
        assert len(slow.questions) == 5

    asyncio.run(main())


def test_who_asks_after_a_change_sees_it_though_an_older_question_is_on_its_way():
    async def main():
        slow = Slow()
        batches = Batches(slow.read)
        before = asyncio.create_task(batches.get("k1"))
        await turn()
        slow.rows["k1"] = "changed"
        after = asyncio.create_task(batches.get("k1"))
        await turn()
        slow.may_answer.set()
        assert (await before, await after) == (1, "changed")

    asyncio.run(main())


def test_an_error_is_raised_to_all_who_were_asked_for_together_and_to_no_one_later():
    async def main():
        slow = Slow()
        slow.may_answer.set()
        batches = Batches(slow.read)
        answers = await asyncio.gather(
            batches.get("bad"), batches.get("k1"), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [LookupError] * 2
        assert await batches.get("k1") == 1

    asyncio.run(main())


def test_a_task_that_is_cancelled_leaves_the_others_their_answer():
    async def main():
        slow = Slow()
        batches = Batches(slow.read)
        one, other = (asyncio.create_task(batches.get("k1")) for _ in range(2))
        await turn()
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        slow.may_answer.set()
        assert await other == 1
        assert slow.questions == [["k1"]]

    asyncio.run(main())


def test_an_event_loop_that_ends_leaves_nobody_waiting_and_the_next_one_starts_anew():
    batches = None

    async def end_early():
        nonlocal batches
        batches = Batches(Slow().read)
        task = asyncio.create_task(batches.get("k1"))
        await turn()
        return task

    task = asyncio.run(end_early())
    assert task.cancelled()

    async def again():
        slow = Slow()
        slow.may_answer.set()
        batches._read = slow.read
        return await batches.get("k2")

    assert asyncio.run(again()) == 2


@pytest.mark.parametrize("turns", range(8))
def test_who_asks_just_when_all_questions_are_answered_is_answered_too(turns):
    async def main():
        slow = Slow()
        batches = Batches(slow.read)
        tasks = []
        for number in range(4):
            tasks.append(asyncio.create_task(batches.get(f"k{number}")))
            await turn()
        slow.may_answer.set()  # all four end in one turn of the loop
        for _ in range(turns):
            await asyncio.sleep(0)
        assert await asyncio.wait_for(batches.get("k9"), 1) == 9
        assert await asyncio.gather(*tasks) == [*range(4)]

    asyncio.run(main())
