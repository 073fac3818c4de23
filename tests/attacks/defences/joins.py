"""Joins, the grants of a token, and the settings that the service refuses at the start."""

from tests.attacks.defences.defence import Defence

JOINS = "tests/attacks/test_joins.py"
TRIES = "tests/interviews/test_wrong_tries.py"
RIGHTS = "tests/e2e/test_candidate_rights.py"

JOINING = (
    Defence(
        "refused joins leave a count by minute, not a row each",
        "app/interviews/join.py",
        "is_counted=decision.refusal is not None and not _is_wrong_try(decision),",
        "is_counted=False,",
        ("tests/interviews/test_counted_refusals.py::test_a_flood_without_a_credential_is_one_row_a_minute",),
    ),
    Defence(
        "tries of a lockout leave a count by minute, not a row each",
        "app/interviews/join_queries.py",
        "is_counted OR (locked_until > at) IS TRUE AS is_counted,",
        "is_counted,",
        ("tests/interviews/test_counted_refusals.py::test_a_lockout_does_not_write_a_row_for_each_try_either",),
    ),
    Defence(
        "batches update the counts of refused joins in one order",
        "app/interviews/join_queries.py",
        "GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
        "GROUP BY 1, 2, 3, 4 ORDER BY min(index)",
        ("tests/interviews/test_counted_refusals.py::test_batches_of_replicas_do_not_wait_for_each_other_in_a_circle",),
    ),
    Defence(
        "an invite must be the current one",
        "app/interviews/invites.py",
        'is_right = hmac.compare_digest(_hash(invite), interview.invite_hash or b"")',
        "is_right = bool(invite)",
        (
            "tests/interviews/test_invites.py::test_what_is_no_invite_is_refused_in_the_same_words",
            f"{JOINS}::test_a_token_of_another_interview_is_refused",
        ),
    ),
    Defence(
        "an invite expires",
        "app/interviews/invites.py",
        "return is_right and interview.invite_expires_at is not None and now < interview.invite_expires_at",
        "return is_right",
        ("tests/interviews/test_invites.py::test_until_when_it_holds",),
    ),
    Defence(
        "an invite can be revoked",
        "app/interviews/invites.py",
        "    interview.invite_hash = interview.invite_expires_at = None\n",
        "",
        (f"{JOINS}::test_an_invite_can_be_reused_until_it_is_revoked",),
    ),
    Defence(
        "an invite is stored as a hash only",
        "app/interviews/invites.py",
        'return hashlib.sha256(invite.encode("utf-8", "surrogatepass")).digest()',
        'return invite.encode("utf-8", "surrogatepass")',
        ("tests/interviews/test_invites.py::test_the_secret_is_neither_stored_nor_logged",),
    ),
    Defence(
        "secrets are compared in constant time",
        "app/interviews/invites.py",
        'is_right = hmac.compare_digest(_hash(invite), interview.invite_hash or b"")',
        "is_right = _hash(invite) == interview.invite_hash",
        ("tests/test_secrets_are_compared.py::test_no_secret_is_compared_by_equality",),
    ),
    Defence(
        "a phone number must be the candidate's",
        "app/core/phone_numbers.py",
        "return international | national",
        "return True",
        ("tests/interviews/test_join_policy.py::test_another_number_does_not",),
    ),
    Defence(
        "digits are not joined across what can't be part of a phone number",
        "app/core/phone_numbers.py",
        'if plain is None or (plain == "+" and read.strip(" (")):',
        'plain = plain or ""\n        if plain == "+" and read.strip(" ("):',
        (
            "tests/core/test_phone_numbers.py::test_what_cannot_be_read_is_named",
            "tests/api/test_schedule.py::test_what_is_wrong_with_a_phone_number_is_named",
        ),
    ),
    Defence(
        "the fraction of a spreadsheet's number is no part of a phone number",
        "app/core/phone_numbers.py",
        "if _DECIMAL.fullmatch(read):",
        "if not read:",
        ("tests/core/test_phone_numbers.py::test_what_cannot_be_read_is_named",),
    ),
    Defence(
        "an unreadable phone number reveals nothing of the one on file",
        "app/interviews/join_policy.py",
        "        read_phone_number(phone_number)\n",
        "        read_phone_number(phone_number if parse_on_file(snapshot.phone_number) else '1')\n",
        ("tests/interviews/test_join_policy.py::test_what_is_no_phone_number_is_named_and_reveals_nothing",),
    ),
    Defence(
        "five wrong tries per address",
        "app/interviews/join_queries.py",
        "MAX_TRIES = 5  #",
        "MAX_TRIES = 5_000  #",
        (
            f"{TRIES}::test_five_in_ten_minutes",
            f"{JOINS}::test_brute_force_over_eight_connections_of_a_running_service",
        ),
    ),
    Defence(
        "fifty wrong tries from all addresses",
        "app/interviews/join_queries.py",
        "MAX_TRIES_IN_ALL = 50  #",
        "MAX_TRIES_IN_ALL = 50_000  #",
        (f"{TRIES}::test_fifty_in_an_hour_from_everywhere", f"{TRIES}::test_brute_force_from_everywhere_gets_fifty"),
    ),
    Defence(
        "an IPv6 network counts as one address",
        "app/interviews/join_policy.py",
        "return str(ipaddress.IPv6Network((int(parsed), NETWORK), strict=False))",
        "return str(parsed)",
        (f"{TRIES}::test_what_counts_as_one_address",),
    ),
    Defence(
        "concurrent guesses are counted one by one",
        "app/interviews/join.py",
        "has_turn = has_tries_lock or snapshot.has_tries_lock or not policy_decision.is_guess",
        "has_turn = True",
        (f"{TRIES}::test_a_right_guess_waits_for_the_wrong_ones_before_it",),
    ),
    Defence(
        "a second guess waits for the first",
        "app/interviews/join.py",
        "await session.execute(select(func.pg_advisory_xact_lock(tries_lock(command.interview_id))))",
        "pass",
        (f"{TRIES}::test_a_right_guess_waits_for_the_wrong_ones_before_it",),
    ),
    Defence(
        "a valid invite works regardless of wrong tries",
        "app/interviews/join_policy.py",
        "return PolicyDecision(policy, None)",
        "return PolicyDecision(policy, None, counts_as_try=True)",
        (f"{TRIES}::test_a_right_invite_is_let_in_at_once",),
    ),
    Defence(
        "an address that joined before is not locked out by strangers",
        "app/interviews/join_queries.py",
        "r.at > locked.at - $13::interval",
        "r.at > locked.at + $13::interval",
        (f"{TRIES}::test_who_was_let_in_before_is_not_kept_out_by_strangers",),
    ),
    Defence(
        "only trusted proxies may forward an address",
        "app/server/run.py",
        "forwarded_allow_ips=list(settings.trusted_proxies),",
        'forwarded_allow_ips="*",',
        ("tests/api/test_trusted_proxies.py::test_a_stranger_behind_the_same_proxy[192.0.2.0/24-429]",),
    ),
    Defence(
        "an organization's policy may only be stricter",
        "app/core/settings.py",
        "return deployment if organization is None else max(deployment, organization, key=STRICTNESS.index)",
        "return organization or deployment",
        ("tests/interviews/test_join_policy.py::test_the_stricter_of_two_holds",),
    ),
    Defence(
        "a caller without credentials learns nothing about the interview",
        "app/interviews/join.py",
        "refusal = policy_decision.refusal or (None if is_over else _refusal(snapshot, command, config))",
        "refusal = (None if is_over else _refusal(snapshot, command, config)) or policy_decision.refusal",
        ("tests/interviews/test_join_policy.py::test_a_stranger_learns_nothing_of_the_interview",),
    ),
    Defence(
        "an interview cannot be joined after the end",
        "app/interviews/join.py",
        "if snapshot.status.is_terminal:\n        return InterviewOver(",
        "if snapshot.attempt < 0:\n        return InterviewOver(",
        (
            f"{JOINS}::test_an_invite_is_refused_before_the_start_and_after_the_end",
            "tests/interviews/test_join.py::test_over",
        ),
    ),
    Defence(
        "an interview cannot be joined before the start",
        "app/interviews/join.py",
        "if snapshot.opens_at and command.now < snapshot.opens_at:",
        "if snapshot.opens_at and snapshot.attempt < 0:",
        (
            f"{JOINS}::test_an_invite_is_refused_before_the_start_and_after_the_end",
            "tests/interviews/test_join.py::test_too_early",
        ),
    ),
)

TOKENS = (
    Defence(
        "a token is valid for one room",
        "app/livekit/access_tokens.py",
        '            "room": room,\n            "canPublish"',
        '            "canPublish"',
        (f"{RIGHTS}::test_no_other_room_can_be_joined",),
    ),
    Defence(
        "a token has no admin grants",
        "app/livekit/access_tokens.py",
        '            "roomJoin": True,\n',
        '            "roomJoin": True,\n            "roomAdmin": True,\n            "roomList": True,\n',
        (f"{RIGHTS}::test_every_call_to_the_server_is_refused",),
    ),
    Defence(
        "a token allows microphone and camera only",
        "app/livekit/access_tokens.py",
        '            "canPublishSources": ["microphone", "camera"],\n',
        "",
        (
            f"{RIGHTS}::test_screen_sharing_is_refused[screen]",
            f"{RIGHTS}::test_screen_sharing_is_refused[screen_audio]",
        ),
    ),
    Defence(
        "a candidate cannot change metadata that the agent reads",
        "app/livekit/access_tokens.py",
        '"canUpdateOwnMetadata": self.client_metadata_updates,',
        '"canUpdateOwnMetadata": True,',
        (f"{RIGHTS}::test_a_candidate_cannot_change_metadata_name_or_attributes",),
    ),
    Defence(
        "an organization may forbid another try after the own connection was cut",
        "app/interviews/join.py",
        "is_allowed = rejoin.allows(interview.end_reason) and ",
        "is_allowed = ",
        (
            "tests/interviews/test_rejoin.py::test_a_candidate_that_pulls_the_plug[before_start-409]",
            "tests/interviews/test_rejoin.py::test_an_organization_says_when_a_failure_may_be_joined_again",
        ),
    ),
    Defence(
        "the doctor shows no token that LiveKit repeats",
        "app/livekit/client.py",
        'raise LiveKitUnavailable(f"LiveKit answered {answer.status} to /rtc/validate")',
        "raise LiveKitUnavailable(await answer.text())",
        ("tests/cli/test_doctor_checks.py::test_livekit_is_asked_as_a_candidates_page_asks_it",),
    ),
    Defence(
        "a candidate is not hidden",
        "app/livekit/access_tokens.py",
        '            "canSubscribe": True,\n',
        '            "canSubscribe": True,\n            "hidden": True,\n',
        (f"{RIGHTS}::test_a_candidate_cannot_hide",),
    ),
    Defence(
        "a token expires after ten minutes",
        "app/livekit/access_tokens.py",
        "TOKEN_LIFE = timedelta(minutes=10)",
        "TOKEN_LIFE = timedelta(hours=6)",
        ("tests/livekit/test_access_tokens.py::test_a_token_lives_for_ten_minutes_from_its_second",),
    ),
    Defence(
        "a client cannot choose the grants of its token",
        "app/interviews/token.py",
        "return TokenFieldNotAllowed(errors=errors) if errors else None",
        "return None",
        ("tests/api/test_token.py::test_what_a_client_may_not_say",),
    ),
)

SETTINGS = (
    Defence(
        "in production the service does not start with public secrets",
        "app/core/settings.py",
        ", *([] if self.is_local else self._unsafe_defaults())",
        "",
        (
            "tests/core/test_settings.py::test_outside_a_laptop_all_unsafe_settings_are_reported_at_once",
            "tests/core/test_settings.py::test_each_rule_stands_alone",
        ),
    ),
    Defence(
        "a misspelled setting is not ignored",
        "app/cli/runtime.py",
        "if settings is None or misspellings.faults:",
        "if settings is None:",
        ("tests/cli/test_database_commands.py::test_a_misspelled_setting_is_refused_by_each_command",),
    ),
    Defence(
        "in production candidates are not sent to their own machines",
        "app/core/settings.py",
        'if "livekit_url" not in self.model_fields_set:',
        "if not self.livekit_url:",
        ("tests/core/test_settings.py::test_a_loopback_livekit_that_was_set_is_not_the_default",),
    ),
    Defence(
        "the keys of a local LiveKit are for their owner alone",
        "app/livekit/local_server.py",
        "    Path(new.name).replace(file)\n",
        '    file.write_text(Path(new.name).read_text(encoding="utf-8"), encoding="utf-8")\n',
        ("tests/livekit/test_local_server.py::test_its_keys_do_not_leave_the_machine",),
    ),
    Defence(
        "an open join policy must be explicit",
        "app/core/settings.py",
        "if self.join_policy is None:",
        'if self.environment == "never":',
        ("tests/core/test_settings.py::test_each_rule_stands_alone[JOIN_POLICY]",),
    ),
    Defence(
        "an invite's secret is never part of a logged URL",
        "app/core/settings.py",
        "*self._leaking_links(), ",
        "",
        ("tests/core/test_settings.py::test_a_link_whose_secret_would_be_logged_is_refused",),
    ),
)
