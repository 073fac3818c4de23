"""Rate limits, and personal data in the database and the log."""

from tests.attacks.defences.defence import Defence

LIMITED = "tests/api/test_rate_limits.py"
ERASED = "tests/interviews/test_erasure.py"
LOGGED = "tests/core/test_logging.py"
RACES = "tests/interviews/test_erasure_races.py"
RETENTION = "tests/worker/test_retention.py"
GONE = f"{ERASED}::test_no_table_holds_personal_data"

LIMITS = (
    Defence(
        "an interview that never starts ends, however often its candidate reconnects",
        "app/lifecycle/end_rules.py",
        "    window_over,\n    never_started,\n)",
        "    window_over,\n)",
        (
            "tests/lifecycle/test_table.py::TestNeverStarted::test_who_reconnects_again_and_again_has_half_an_hour[9-2400]",
            "tests/worker/test_audit.py::test_nothing_is_found[never_started]",
        ),
    ),
    Defence(
        "calls beyond a limit are refused",
        "app/api/rate_limits.py",
        "if standing.is_over:",
        "if standing.remaining < 0:",
        (
            f"{LIMITED}::test_an_address_sees_its_limit_and_is_then_refused",
            f"{LIMITED}::test_a_key_is_limited_wherever_it_calls_from",
        ),
    ),
    Defence(
        "an IPv6 network has one limit",
        "app/api/rate_limits.py",
        "network_of(address_of(scope))",
        "address_of(scope)",
        (f"{LIMITED}::test_ipv6_counts_by_its_network[2001:db8:0:1::ffff-True]",),
    ),
    Defence(
        "a key has one limit wherever it calls from",
        "app/api/rate_limits.py",
        "services_of(request).rate_limits.key, key_id.hex)",
        "services_of(request).rate_limits.key, key_id.hex + address_of(request.scope))",
        (f"{LIMITED}::test_a_key_is_limited_wherever_it_calls_from",),
    ),
    Defence(
        "replicas share their counts",
        "app/core/rate_limits.py",
        "shared or OwnCounters()",
        "OwnCounters()",
        ("tests/api/test_rate_limits_shared.py::test_replicas_count_as_one",),
    ),
    Defence(
        "calls continue while the shared counts are unavailable",
        "app/core/rate_limits.py",
        "except FAILURES as error:",
        "except ZeroDivisionError as error:",
        ("tests/api/test_rate_limits_shared.py::test_one_that_hangs_is_given_up_and_not_asked_for_a_while",),
    ),
    Defence(
        "LiveKit's webhooks are never limited",
        "app/api/rate_limits.py",
        '"/webhooks/livekit", ',
        "",
        (f"{LIMITED}::test_livekit_and_operators_are_never_limited",),
    ),
)

PERSONAL_DATA = (
    Defence(
        "a recruiter's reason is erased",
        "app/interviews/erasure.py",
        '        kept.pop("reason", None)  # a recruiter gave it, not LiveKit\n',
        "        pass\n",
        ("tests/api/test_reasons.py::test_an_erasure_leaves_no_reason",),
    ),
    Defence(
        "an erasure removes the texts",
        "app/interviews/erasure.py",
        'setattr(interview, name, "")',
        "pass",
        (GONE, f"{ERASED}::test_a_tombstone_stays"),
    ),
    Defence(
        "an erasure redacts the timeline",
        "app/interviews/erasure.py",
        "entry.detail = redact(entry.detail, roles)",
        "pass",
        (GONE, f"{ERASED}::test_unknown_timeline_details_are_erased"),
    ),
    Defence(
        "an erasure removes the identities of connections",
        "app/interviews/erasure.py",
        "await session.execute(of_connections.values(identity=func.lower(Connection.role)))",
        "pass",
        (GONE,),
    ),
    Defence(
        "an erasure removes the agent's report",
        "app/interviews/erasure.py",
        ".values(summary=None, result=None)",
        ".values(outcome=Report.outcome)",
        (GONE, f"{ERASED}::test_a_tombstone_stays"),
    ),
    Defence(
        "an erasure removes the addresses of joins",
        "app/interviews/erasure.py",
        ".values(address=None)",
        ".values(address=JoinRequest.address)",
        (GONE,),
    ),
    Defence(
        "an erasure removes the addresses of wrong tries",
        "app/interviews/erasure.py",
        "    await session.execute(delete(WrongTry).where(WrongTry.interview_id == interview_id))\n",
        "",
        (GONE,),
    ),
    Defence(
        "a person's data has nothing of others in the same batch",
        "app/interviews/personal_data.py",
        'if body.get("interviewId") == interview_id:',
        'if "interviewId" in body:',
        ("tests/interviews/test_personal_data.py::test_a_batchs_stored_response_is_read_without_other_people",),
    ),
    Defence(
        "an erasure removes the transcript",
        "app/interviews/erasure.py",
        "    await session.execute(delete(TranscriptLine).where(TranscriptLine.interview_id == interview_id))\n",
        "",
        (GONE,),
    ),
    Defence(
        "an erasure removes the checkpoint",
        "app/interviews/erasure.py",
        "    await session.execute(delete(Checkpoint).where(Checkpoint.interview_id == interview_id))\n",
        "",
        (GONE,),
    ),
    Defence(
        "no line is added to an erased transcript",
        "app/interviews/transcript_append.py",
        "        AND live.ended_at IS NULL AND live.personal_data_erased_at IS NULL\n",
        "",
        (f"{ERASED}::test_every_call_on_a_tombstone_is_refused",),
    ),
    Defence(
        "an erased transcript or checkpoint is not read",
        "app/interviews/queries.py",
        "    if interview.personal_data_erased_at:\n        raise InterviewErased\n",
        "",
        (f"{ERASED}::test_every_call_on_a_tombstone_is_refused",),
    ),
    Defence(
        "an erasure removes context and invite",
        "app/interviews/erasure.py",
        "    interview.context = interview.invite_hash = interview.invite_expires_at = None\n",
        "",
        (GONE, f"{ERASED}::test_a_tombstone_stays"),
    ),
    Defence(
        "an erasure removes personal data from stored responses",
        "app/interviews/erasure.py",
        "    await _erase_from_answers(session, interview, now)\n",
        "",
        (GONE, f"{ERASED}::test_a_replayed_response_has_no_personal_data"),
    ),
    Defence(
        "late webhooks store no identity after an erasure",
        "app/interviews/erasure.py",
        "return role.lower() if interview.personal_data_erased_at else identity",
        "return identity",
        (f"{ERASED}::test_late_webhooks_bring_nothing_back",),
    ),
    Defence(
        "late webhooks add no personal data to the timeline after an erasure",
        "app/interviews/livekit_events.py",
        "return redact(detail, {}) if row.personal_data_erased_at else detail",
        "return detail",
        (f"{ERASED}::test_late_webhooks_bring_nothing_back",),
    ),
    Defence(
        "a join waits for a concurrent erasure",
        "app/interviews/erasure.py",
        "    await keep_joins_out(session, interview)  # a join stores an address\n",
        "",
        (f"{RACES}::test_a_join_during_an_erasure_waits_and_stores_no_address",),
    ),
    Defence(
        "an erased interview can't be joined",
        "app/interviews/join_queries.py",
        '"is_erased": "i.personal_data_erased_at IS NOT NULL"',
        '"is_erased": "false"',
        (f"{ERASED}::test_no_policy_lets_anyone_into_an_erased_failed_interview",),
    ),
    Defence(
        "an erasure requires the scope admin",
        "app/api/actions.py",
        "interview_id: InterviewId, caller: AdminCaller,",
        "interview_id: InterviewId, caller: Writer,",
        (f"{ERASED}::test_a_write_key_is_not_enough",),
    ),
    Defence(
        "an interview that is not over is not erased",
        "app/interviews/erasure.py",
        "if not interview.status.is_terminal:",
        "if interview.attempt < 0:",
        (f"{ERASED}::test_an_interview_that_is_not_over_is_refused",),
    ),
    Defence(
        "an interview is erased after the retention period",
        "app/worker/scheduler.py",
        "await erase_overdue(session, interview_id=overdue.id, before=before, now=datetime.now(UTC))",
        "pass",
        (f"{RETENTION}::test_what_was_over_for_so_long_is_erased_and_nothing_else",),
    ),
    Defence(
        "an interview that was reopened meanwhile is not erased",
        "app/interviews/erasure.py",
        "if interview and interview.ended_at and interview.ended_at <= before:",
        "if interview:",
        (f"{RETENTION}::test_one_that_was_reopened_meanwhile_is_kept",),
    ),
    Defence(
        "without a retention period nothing is erased automatically",
        "app/worker/scheduler.py",
        "        if context.retention is None:\n            return\n"
        "        before = datetime.now(UTC) - context.retention\n",
        "        before = datetime.now(UTC) - (context.retention or timedelta())\n",
        (f"{RETENTION}::test_without_a_retention_it_is_kept_for_ever",),
    ),
    Defence(
        "a failed erasure does not block others",
        "app/worker/scheduler.py",
        "self._after = batch[-1] if len(batch) == ERASURE_BATCH else None",
        "self._after = None",
        (f"{RETENTION}::test_a_batch_that_can_not_be_erased_does_not_keep_those_behind_it",),
    ),
)

LOG = (
    Defence(
        "an error among a log line's arguments is logged without its message",
        "app/core/logging.py",
        "if isinstance(arg, BaseException):",
        "if record.levelno < 0:",
        (f"{LOGGED}::test_an_error_is_told_by_its_place",),
    ),
    Defence(
        "an error with a traceback is logged without its message",
        "app/core/logging.py",
        'return "\\n".join([line, *_safe_traceback(error)]) if error else line',
        "return line + super().formatException(record.exc_info) if record.exc_info else line",
        (
            f"{LOGGED}::test_an_error_is_told_by_its_place",
            f"{LOGGED}::test_a_database_error_is_logged_by_its_code_and_names",
        ),
    ),
    Defence(
        "an error of another library is logged by its class only",
        "app/core/logging.py",
        "return f\"{name} ({', '.join(fields)})\" if fields else name",
        'return f"{name}: {error}"',
        (
            f"{LOGGED}::test_an_error_is_told_by_its_place",
            f"{LOGGED}::test_a_database_error_is_logged_by_its_code_and_names",
        ),
    ),
)
