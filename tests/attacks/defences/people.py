"""What is too much of one caller, and what is kept and logged of people."""

from tests.attacks.defences.defence import Defence

LIMITED = "tests/test_rate_limits.py"
ERASED = "tests/test_personal_data.py"
LOGGED = "tests/test_logs.py"
GONE = f"{ERASED}::test_no_table_holds_any_of_it_any_more"

LIMITS = (
    Defence(
        "calls beyond a limit are refused",
        "app/api/rate_limits.py",
        "if standing.is_over:",
        "if standing.remaining < 0:",
        (
            f"{LIMITED}::test_an_address_is_told_and_then_limited",
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
        "request.app.state.rate_limits.key, key_id.hex)",
        "request.app.state.rate_limits.key, key_id.hex + address_of(request.scope))",
        (f"{LIMITED}::test_a_key_is_limited_wherever_it_calls_from",),
    ),
)

PERSONAL_DATA = (
    Defence(
        "an erasure takes the texts",
        "app/interviews/erase.py",
        'setattr(interview, name, "")',
        "pass",
        (GONE, f"{ERASED}::test_a_tombstone_stays"),
    ),
    Defence(
        "an erasure takes what the timeline says of people",
        "app/interviews/erase.py",
        "entry.detail = bare(entry.detail, roles)",
        "pass",
        (GONE, f"{ERASED}::test_a_new_kind_of_detail_does_not_outlive_the_erasure"),
    ),
    Defence(
        "an erasure takes what kept answers say",
        "app/interviews/erase.py",
        "    await _erase_from_answers(session, interview, now)\n",
        "",
        (GONE, f"{ERASED}::test_a_repeated_call_is_answered_without_it"),
    ),
    Defence(
        "what comes late brings nothing back",
        "app/interviews/erased.py",
        "return role_of(who, interview).lower() if interview.personal_data_erased_at else who.identity",
        "return who.identity",
        (f"{ERASED}::test_what_comes_late_brings_nothing_back",),
    ),
    Defence(
        "what is still needed is not erased",
        "app/interviews/erase.py",
        "if not interview.status.is_terminal:",
        "if interview.attempt < 0:",
        (f"{ERASED}::test_one_that_is_not_over_is_refused",),
    ),
    Defence(
        "what was over for long enough is erased",
        "app/worker/loops.py",
        "        await _erase(context, interview_id, before)\n",
        "        pass\n",
        ("tests/worker/test_retention.py::test_what_was_over_for_so_long_is_erased_and_nothing_else",),
    ),
)

LOG = (
    Defence(
        "an error in a line of the log is told without its words",
        "app/logs.py",
        "if record.exc_info or any(isinstance(each, BaseException) for each in args):",
        "if record.levelno < 0:",
        (f"{LOGGED}::test_an_error_is_told_by_its_place",),
    ),
    Defence(
        "so is one below it",
        "app/logs.py",
        'return "\\n".join(_trace(ei[1])) if ei[1] else ""',
        "return super().formatException(ei)",
        (
            f"{LOGGED}::test_an_error_is_told_by_its_place",
            f"{LOGGED}::test_an_error_of_the_database_is_told_by_its_code_and_names",
        ),
    ),
)
