"""Batches: an item waits for no other item's lock, and holds no connection while it waits."""

from tests.attacks.defences.defence import Defence

JOINS = "tests/interviews/test_join_batches.py"
LIVEKIT_EVENTS = "tests/interviews/test_livekit_event_batches.py"

BATCHES = (
    Defence(
        "a locked interview delays no other candidate",
        "app/interviews/join_queries.py",
        "FOR KEY SHARE OF i SKIP LOCKED",
        "FOR KEY SHARE OF i",
        (f"{JOINS}::test_a_locked_interview_holds_up_its_own_candidate_only",),
    ),
    Defence(
        "an edit waits for a join in progress",
        "app/interviews/join_queries.py",
        "        FOR KEY SHARE OF i SKIP LOCKED\n",
        "",
        ("tests/api/test_edit.py::TestCandidateAndJoin::test_a_join_waits_for_an_edit_and_names_the_new_candidate",),
    ),
    Defence(
        "guesses at one interview take turns",
        "app/interviews/join.py",
        "return command.interview_id if command.credentials.phone_number and not command.credentials.invite else None",
        "return None",
        (f"{JOINS}::test_guesses_at_one_interview_take_turns_and_none_is_joined_alone",),
    ),
    Defence(
        "joins that wait for locks leave connections to the others",
        "app/interviews/join.py",
        "concurrency=LOCK_CONCURRENCY",
        "concurrency=64",
        (f"{JOINS}::test_however_many_interviews_are_held_two_connections_wait",),
    ),
    Defence(
        "joins that wait for one interview use one connection",
        "app/interviews/join.py",
        "key=lambda waiting: waiting.command.interview_id",
        "key=lambda waiting: None",
        (
            "tests/interviews/test_join_under_strain.py::test_many_joins_that_wait_for_one_interview_leave_connections_to_the_others",
        ),
    ),
    Defence(
        "a cancelled run closes its connection",
        "app/core/database.py",
        "            except BaseException:\n                connection.terminate()\n",
        "            except BaseException:\n",
        (
            "tests/core/test_network_stalls.py::test_what_is_answered_after_a_stall_is_committed[in_one_transaction]",
            "tests/core/test_network_stalls.py::test_a_dead_connection_times_out_once[autocommit]",
        ),
    ),
    Defence(
        "calls for one interview keep their order",
        "app/core/batching.py",
        "if call.key in self._queues:",
        "if call.key in self._queues and not self._max_batch:",
        ("tests/core/test_batching.py::test_those_of_one_key_are_never_under_way_together_and_keep_their_order",),
    ),
    Defence(
        "a locked interview delays no other interview's webhooks",
        "app/interviews/interview_rows.py",
        "ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
        "ORDER BY id FOR NO KEY UPDATE",
        (f"{LIVEKIT_EVENTS}::test_a_locked_row_delays_only_its_own_events",),
    ),
    Defence(
        "an event that cannot be stored does not fail its batch",
        "app/interviews/livekit_events.py",
        "if len(events) == 1 or not is_per_item(error):",
        "if events:",
        (f"{LIVEKIT_EVENTS}::test_one_bad_event_does_not_fail_the_batch",),
    ),
    Defence(
        "the update of a key's last use waits for no lock",
        "app/auth/last_use.py",
        "FOR NO KEY UPDATE SKIP LOCKED",
        "FOR NO KEY UPDATE",
        ("tests/auth/test_key_lifetimes.py::test_a_locked_key_is_left_for_the_next_time",),
    ),
)
