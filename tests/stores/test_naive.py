"""The shipped contract catches what hand-written stores get wrong: each of these has to fail it."""

import pytest

from aplus_adapters import MemoryStore, SQLStore
from aplus_adapters.testing.store_contract import PaymentStoreContract
from support.naive import (
    ChecksThenAdds,
    ChecksThenClaims,
    ChecksThenRecords,
    ChecksThenRefunds,
    ForgetsTheHook,
    ForgetsTies,
    LosesContradictions,
    OpensConflictsAgain,
)

CAUGHT = {
    ChecksThenRecords: "test_of_many_identical_observations_at_once_one_settles",
    ChecksThenClaims: "test_a_claim_is_given_to_one_of_many",
    ChecksThenAdds: "test_of_many_new_attempts_at_once_one_is_kept",
    ChecksThenRefunds: "test_refunds_at_once_never_exceed_what_was_paid",
    ForgetsTheHook: "test_when_the_hook_raises_nothing_at_all_is_stored",
    LosesContradictions: "test_a_conflict_is_handed_out_until_it_is_reported",
    ForgetsTies: "test_pages_show_each_payment_once_in_the_order_of_creation",
    OpensConflictsAgain: "test_a_conflict_is_resolved_once_and_stays_resolved",
}


@pytest.mark.parametrize("kind", CAUGHT)
def test_a_naive_store_fails_the_contract(kind, tmp_path):
    caught = 0
    for number in range(3):  # a race is a matter of chance: one of three runs is enough
        store = (
            kind() if issubclass(kind, MemoryStore) else kind(f"sqlite:///{tmp_path}/{number}.db")
        )
        try:
            getattr(PaymentStoreContract(), CAUGHT[kind])(store)
        except Exception:
            caught += 1
        finally:
            if isinstance(store, SQLStore):
                store.close()
    print(f"{kind.__name__}: caught in {caught} of 3 runs")
    assert caught
