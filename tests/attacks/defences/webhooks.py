"""LiveKit's webhooks, and the limits of connections."""

from tests.attacks.defences.defence import Defence

FORGED = "tests/api/test_forged_webhooks.py::test_a_forged_webhook_moves_nothing"
MALFORMED = "tests/server/test_protocol.py::test_a_malformed_request_is_answered_and_closed"

WEBHOOKS = (
    Defence(
        "a webhook's signature is verified, with HS256 only",
        "app/livekit/webhooks.py",
        '    if secret is None or head.get("alg") != "HS256" or not _UNSUPPORTED.isdisjoint(head):\n'
        "        raise WebhookNotSigned\n"
        '    if not hmac.compare_digest(base64url(hmac.digest(secret.encode(), signed, "sha256")), signature):\n',
        "    if secret is None:\n",
        tuple(
            f"{FORGED}[{each}]"
            for each in ("alg_none", "another_key", "an_empty_secret", "rs256_confusion", "hs256_by_a_public_key")
        ),
    ),
    Defence(
        "the signature covers the body",
        "app/livekit/webhooks.py",
        'if not isinstance(checksum, str) or not hmac.compare_digest(checksum.encode(errors="replace"), digest):',
        "if not digest:",
        (f"{FORGED}[of_another_body]",),
    ),
    Defence(
        "a candidate's token is no signature",
        "app/livekit/webhooks.py",
        'if not isinstance(checksum, str) or not hmac.compare_digest(checksum.encode(errors="replace"), digest):\n'
        "        raise WebhookNotSigned\n"
        "    if not _are_valid(claims, time.time()):",
        "if not digest:",
        (f"{FORGED}[a_participants_own_token]",),
    ),
    Defence(
        "the signature expires",
        "app/livekit/webhooks.py",
        '        and now - _LEEWAY < _timestamp(claims.get("exp"))\n',
        "",
        (f"{FORGED}[replayed_after_ten_minutes]",),
    ),
    Defence(
        "only one Authorization header is accepted",
        "app/api/livekit_webhook.py",
        "if len(signatures) > 1:",
        "if len(signatures) > 9:",
        (f"{FORGED}[right_before_forged]", f"{FORGED}[right_twice]"),
    ),
    Defence(
        "an event counts once",
        "app/interviews/livekit_events.py",
        "livekit_event_id=event.id or None,",
        "livekit_event_id=None,",
        ("tests/api/test_forged_webhooks.py::test_a_replay_within_its_life_is_a_duplicate",),
    ),
    Defence(
        "only ids, instants and reasons of an event are stored",
        "app/interviews/livekit_events.py",
        'detail |= {"outcome": who.attributes.get(OUTCOME, "")[:MAX_OUTCOME_LENGTH]}',
        "detail |= who.attributes",
        ("tests/api/test_forged_webhooks.py::test_of_a_full_body_only_ids_instants_and_reasons_are_kept",),
    ),
    Defence(
        "a hidden participant is neither candidate nor interviewer",
        "app/interviews/participant_events.py",
        "if who.hidden:  # it can only listen",
        "if False:",
        ("tests/interviews/test_livekit_events.py::test_other_participants_are_recorded_and_change_nothing",),
    ),
    Defence(
        "an agent of another name is no interviewer",
        "app/interviews/participant_events.py",
        "and not who.attributes.get(ON_BEHALF) and _has_name(who, agent_name):",
        "and not who.attributes.get(ON_BEHALF):",
        ("tests/interviews/test_roles.py::test_an_agent_of_another_name_keeps_nothing_alive",),
    ),
    Defence(
        "a role that is stored stays",
        "app/interviews/participant_events.py",
        "WHERE known.interview_id = received.interview_id AND known.sid = received.sid",
        "WHERE false",
        ("tests/interviews/test_roles.py::test_an_agent_that_changes_its_attributes_keeps_its_role",),
    ),
)

SOCKETS = (
    Defence(
        "a body is cut off at the size limit",
        "app/api/dependencies.py",
        "if size > max_size:",
        "if size > 2**40:",
        (
            "tests/api/test_forged_webhooks.py::test_a_hundred_megabytes_are_cut_off_before_anything_is_verified",
            "tests/server/test_protocol.py::test_a_hundred_megabytes_in_chunks_are_cut_off",
        ),
    ),
    Defence(
        "a body with a Content-Length over the limit is not read",
        "app/api/dependencies.py",
        "if announced.isdigit() and (len(announced) > 18 or int(announced) > max_size):",
        'if announced == b"never":',
        ("tests/server/test_protocol.py::test_a_body_announced_as_too_large_is_rejected_unread",),
    ),
    Defence(
        "a slow body is cut off",
        "app/server/protocol.py",
        "self._limit_time(BODY_TIMEOUT)",
        "self._limit_time(3600)",
        ("tests/server/test_protocol.py::test_an_unfinished_request_is_answered_and_closed[body]",),
        forever=True,
    ),
    Defence(
        "slow headers are cut off",
        "app/server/protocol.py",
        "self._timer = self.loop.call_later(self._time_limit, self._on_timeout)",
        "self._timer = self.loop.call_later(3600, self._on_timeout)",
        ("tests/server/test_protocol.py::test_a_silent_connection_is_closed_without_a_response",),
        forever=True,
    ),
    Defence(
        "the size of the headers is limited",
        "app/server/protocol.py",
        "if self._in_head and self._received > MAX_HEAD:",
        "if self._in_head and self._received > 2**40:",
        (MALFORMED,),
    ),
    Defence(
        "a request with an unclear host, version or length is refused",
        "app/server/protocol.py",
        "if not _is_clear(self.parser.get_http_version(), self.url, self.headers):",
        "if not self.headers:",
        (
            "tests/attacks/test_smuggling.py::test_a_request_whose_host_or_version_is_unclear_is_refused_and_closed",
            "tests/attacks/test_smuggling.py::test_an_ambiguous_request_is_refused_and_its_connection_closed",
        ),
    ),
    Defence(
        "the body of a request that asks for an upgrade is read",
        "app/server/protocol.py",
        "data = self._head_without_upgrade() + data[upgrade.args[0] :]",
        'data = self._head_without_upgrade() + b""',
        ("tests/server/test_protocol.py::test_an_upgrade_is_ignored_and_what_follows_is_read",),
    ),
    Defence(
        "a client that does not read is disconnected",
        "app/server/protocol.py",
        "connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, WRITE_TIMEOUT_MS)",
        "connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 3_600_000)",
        ("tests/server/test_protocol.py::test_a_client_that_does_not_read_is_disconnected",),
    ),
    Defence(
        "deeply nested JSON is refused",
        "app/api/dependencies.py",
        "except (ValueError, RecursionError) as error:",
        "except ValueError as error:",
        ("tests/interviews/test_join.py::test_junk_is_refused_by_field_and_not_echoed",),
    ),
)
