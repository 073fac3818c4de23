"""Every defence of the threat model: the piece of code that it is, the code without it, and the tests that then fail.

`take_out.py` proves it. A test by its name alone stands for one of its cases at least, with [..] for that case.
"""

from dataclasses import dataclass

FORGED = "tests/test_forged_webhooks.py::test_a_forged_webhook_moves_nothing"
CALLS = "tests/attacks/test_every_call.py"
FOREIGN = f"{CALLS}::test_another_organizations_id_is_as_one_that_never_was"
READ = f"{CALLS}::test_what_is_read_is_the_own_organizations_alone"
TEXTS = "tests/attacks/test_injection.py::test_a_text_of_a_body_is_kept_as_it_is_or_refused"
JOINS = "tests/attacks/test_joins.py"
TRIES = "tests/test_wrong_tries.py"
TARGETS = "tests/outgoing/test_targets.py"
LOOKS = f"{TARGETS}::test_urls_that_are_refused_by_their_looks"
RIGHTS = "tests/e2e/test_candidate_rights.py"
NO_REQUEST = "tests/test_protocol.py::test_what_is_no_request_is_answered_and_closed"


@dataclass(frozen=True)
class Defence:
    """`code` stands in `file` exactly once; with `without` in its place each of the `tests` fails."""

    name: str
    file: str
    code: str
    without: str
    tests: tuple[str, ...]
    forever: bool = False
    """Whether without it the tests wait for ever, as the service would."""


WEBHOOKS = (
    Defence(
        "a webhook's signature is verified, by HS256 alone",
        "app/livekit.py",
        "claims = TokenVerifier(_issuer(authorization), secret).verify(authorization)",
        'claims: Any = type("Claims", (), jwt.decode(authorization, options={"verify_signature": False}))',
        tuple(
            f"{FORGED}[{each}]"
            for each in ("alg_none", "another_key", "an_empty_secret", "rs256_confusion", "hs256_by_a_public_key")
        ),
    ),
    Defence(
        "it signs this very body",
        "app/livekit.py",
        "if not isinstance(claims.sha256, str) or not hmac.compare_digest("
        'claims.sha256.encode(errors="replace"), digest):',
        "if not digest:",
        (f"{FORGED}[of_another_body]", f"{FORGED}[a_participants_own_token]"),
    ),
    Defence(
        "it expires",
        "app/livekit.py",
        "claims = TokenVerifier(_issuer(authorization), secret).verify(authorization)",
        'claims: Any = type("Claims", (), jwt.decode(authorization, secret, ["HS256"], {"verify_exp": False}))',
        (f"{FORGED}[replayed_after_ten_minutes]",),
    ),
    Defence(
        "there is one Authorization",
        "app/api/webhooks.py",
        'if len(request.headers.getlist("Authorization")) > 1:',
        'if len(request.headers.getlist("Authorization")) > 9:',
        (f"{FORGED}[right_before_forged]", f"{FORGED}[right_twice]"),
    ),
    Defence(
        "an event counts once",
        "app/events.py",
        "livekit_event_id=event.id or None,",
        "livekit_event_id=None,",
        ("tests/test_forged_webhooks.py::test_a_replay_within_its_life_is_a_duplicate",),
    ),
    Defence(
        "of an event only ids, instants and reasons are stored",
        "app/events.py",
        'detail |= {"outcome": who.attributes.get(OUTCOME, "")[:LONGEST_OUTCOME]}',
        "detail |= who.attributes",
        ("tests/test_forged_webhooks.py::test_of_a_full_body_only_ids_instants_and_reasons_are_kept",),
    ),
    Defence(
        "who is hidden is no candidate",
        "app/interviews/participants.py",
        'if who.kind == "STANDARD" and not who.hidden and who.identity == interview.candidate_identity:',
        'if who.kind == "STANDARD" and who.identity == interview.candidate_identity:',
        ("tests/test_webhook_facts.py::test_others_are_recorded_and_change_nothing",),
    ),
)

SOCKETS = (
    Defence(
        "a body is cut off where it becomes too large",
        "app/api/deps.py",
        "if len(body) > largest:",
        "if len(body) > 2**40:",
        (
            "tests/test_forged_webhooks.py::test_a_hundred_megabytes_are_cut_off_before_anything_is_verified",
            "tests/test_protocol.py::test_a_hundred_megabytes_in_chunks_are_cut_off",
        ),
    ),
    Defence(
        "a body that is announced as too large is not waited for",
        "app/api/deps.py",
        "if announced.isdecimal() and (len(announced) > 18 or int(announced) > largest):",
        'if announced == "never":',
        ("tests/test_protocol.py::test_an_announced_body_that_is_too_large_is_refused_before_it_comes",),
    ),
    Defence(
        "a body that trickles is cut off",
        "app/api/deps.py",
        "async with asyncio.timeout(BODY_WITHIN):",
        "async with asyncio.timeout(None):",
        (NO_REQUEST,),
    ),
    Defence(
        "a head that trickles is cut off",
        "app/api/protocol.py",
        "self._deadline = self.loop.call_later(seconds, self._on_deadline, seconds)",
        "self._deadline = self.loop.call_later(3600, self._on_deadline, seconds)",
        ("tests/test_protocol.py::test_a_silent_connection_is_closed_without_a_word",),
        forever=True,
    ),
    Defence(
        "a head has a size",
        "app/api/protocol.py",
        "if self._in_head and self._arrived > LARGEST_HEAD:",
        "if self._in_head and self._arrived > 2**40:",
        (NO_REQUEST,),
    ),
    Defence(
        "who does not read is given up",
        "app/api/protocol.py",
        "connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_WITHIN)",
        "connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 3_600_000)",
        ("tests/test_protocol.py::test_a_client_that_does_not_read_is_given_up",),
    ),
    Defence(
        "nesting without end is no JSON",
        "app/api/deps.py",
        "except (ValueError, RecursionError) as error:",
        "except ValueError as error:",
        ("tests/test_join.py::test_junk_is_refused_by_field_and_not_echoed",),
    ),
)

DOORS = (
    Defence(
        "an invite is the one on file",
        "app/interviews/invites.py",
        'is_right = hmac.compare_digest(_hash(invite), interview.invite_hash or b"")',
        "is_right = bool(invite)",
        (
            "tests/test_invites.py::test_what_is_no_invite_is_refused_in_the_same_words",
            f"{JOINS}::test_a_token_of_another_interview_opens_nothing",
        ),
    ),
    Defence(
        "an invite expires",
        "app/interviews/invites.py",
        "return is_right and interview.invite_expires_at is not None and now < interview.invite_expires_at",
        "return is_right",
        ("tests/test_invites.py::test_until_when_it_holds",),
    ),
    Defence(
        "an invite can be revoked",
        "app/interviews/invites.py",
        "    interview.invite_hash = interview.invite_expires_at = None\n",
        "",
        (f"{JOINS}::test_an_invite_is_used_again_until_it_is_revoked_as_it_is_meant",),
    ),
    Defence(
        "of an invite only a hash is stored",
        "app/interviews/invites.py",
        'return hashlib.sha256(invite.encode("utf-8", "surrogatepass")).digest()',
        'return invite.encode("utf-8", "surrogatepass")',
        ("tests/test_invites.py::test_the_secret_is_neither_stored_nor_logged",),
    ),
    Defence(
        "secrets are compared in constant time",
        "app/interviews/invites.py",
        'is_right = hmac.compare_digest(_hash(invite), interview.invite_hash or b"")',
        "is_right = _hash(invite) == interview.invite_hash",
        ("tests/test_secrets_are_compared.py::test_no_secret_is_compared_by_equality",),
    ),
    Defence(
        "a phone number is the one on file",
        "app/phones.py",
        "return international | national",
        "return True",
        ("tests/test_join_policies.py::test_another_number_does_not",),
    ),
    Defence(
        "five wrong tries of an address",
        "app/interviews/admission.py",
        "TRIES = 5  #",
        "TRIES = 5_000  #",
        (
            f"{TRIES}::test_five_in_ten_minutes",
            f"{JOINS}::test_brute_force_over_eight_connections_of_a_running_service",
        ),
    ),
    Defence(
        "fifty wrong tries of all addresses",
        "app/interviews/admission.py",
        "TRIES_IN_ALL = 50  #",
        "TRIES_IN_ALL = 50_000  #",
        (f"{TRIES}::test_fifty_in_an_hour_from_everywhere", f"{TRIES}::test_brute_force_from_everywhere_gets_fifty"),
    ),
    Defence(
        "all addresses of one IPv6 network are one",
        "app/interviews/admission.py",
        "return str(ipaddress.IPv6Network((int(found), NETWORK), strict=False))",
        "return str(found)",
        (f"{TRIES}::test_what_counts_as_one_address",),
    ),
    Defence(
        "tries at once are judged one after the other",
        "app/interviews/admission.py",
        "await session.execute(select(func.pg_advisory_xact_lock(tries_lock(admission.interview.id))))",
        "pass",
        (f"{TRIES}::test_brute_force_over_eight_connections_gets_five_tries",),
    ),
    Defence(
        "a right invite is let in whatever strangers tried",
        "app/interviews/admission.py",
        "return Admission(interview, knock, policy, None, is_limited=False, is_alone=False)",
        "return Admission(interview, knock, policy, None, is_limited=True, is_alone=False)",
        (f"{TRIES}::test_a_right_invite_is_let_in_at_once",),
    ),
    Defence(
        "who was let in before is not kept out by strangers",
        "app/interviews/admission.py",
        "case((~was_let_in, last + TRIES_IN_ALL_WITHIN))",
        "last + TRIES_IN_ALL_WITHIN",
        (f"{TRIES}::test_who_was_let_in_before_is_not_kept_out_by_strangers",),
    ),
    Defence(
        "a forwarded address is believed of trusted proxies alone",
        "app/cli/serving.py",
        "forwarded_allow_ips=list(settings.trusted_proxies),",
        'forwarded_allow_ips="*",',
        ("tests/test_trusted_proxies.py::test_a_stranger_behind_the_same_proxy[192.0.2.0/24-429]",),
    ),
    Defence(
        "an organization's policy may only be stricter",
        "app/policy.py",
        "return max(deployment, organization or deployment, key=STRICTNESS.index)",
        "return organization or deployment",
        ("tests/test_join_policies.py::test_the_stricter_of_two_holds",),
    ),
    Defence(
        "a stranger learns nothing of the interview",
        "app/interviews/join.py",
        "return admission, admission.refusal",
        "return admission, _refusal(interview, now) or admission.refusal",
        ("tests/test_join_policies.py::test_a_stranger_learns_nothing_of_the_interview",),
    ),
    Defence(
        "nobody joins after the end",
        "app/interviews/join.py",
        "if interview.status.is_terminal:\n        return InterviewOver(",
        "if interview.attempt < 0:\n        return InterviewOver(",
        (f"{JOINS}::test_an_invite_opens_neither_before_the_start_nor_after_the_end", "tests/test_join.py::test_over"),
    ),
    Defence(
        "nobody joins before the start",
        "app/interviews/join.py",
        "if interview.opens_at and now < interview.opens_at:",
        "if interview.opens_at and now < interview.created_at:",
        (
            f"{JOINS}::test_an_invite_opens_neither_before_the_start_nor_after_the_end",
            "tests/test_join.py::test_too_early",
        ),
    ),
)

KEYS = (
    Defence(
        "a key is taken from the header alone",
        "app/api/deps.py",
        "    if credentials is None:\n        raise Unauthorized\n",
        '    given = request.query_params.get("key", "")\n'
        '    credentials = credentials or HTTPAuthorizationCredentials(scheme="Bearer", credentials=given)\n',
        (f"{CALLS}::test_a_key_is_taken_from_one_place_alone[getInterview]",),
    ),
    Defence(
        "a revoked key is none",
        "app/auth.py",
        "ApiKey.key_hash == hash_key(key), ApiKey.revoked_at.is_(None)",
        "ApiKey.key_hash == hash_key(key)",
        (
            f"{CALLS}::test_a_revoked_key_is_no_key[listInterviews]",
            "tests/test_stream.py::test_a_revoked_keys_stream_ends",
        ),
    ),
    Defence(
        "a call takes its scope",
        "app/auth.py",
        "if scope not in self.scopes:",
        "if not self.scopes:",
        tuple(
            f"{CALLS}::test_a_call_takes_one_scope_and_no_other[{each}]"
            for each in ("cancelInterview", "getContext", "listWebhookEndpoints", "changeOrganization")
        ),
    ),
    Defence(
        "of a key only a hash is stored",
        "app/auth.py",
        "return hashlib.sha256(key.encode()).digest()",
        "return key.encode()",
        ("tests/test_api_keys.py::test_only_a_hash_is_stored",),
    ),
    Defence(
        "a stream ends with its key",
        "app/stream/hub.py",
        "(await authenticate(session, key=key)).require(Scope.READ)",
        "pass",
        ("tests/test_stream.py::test_a_revoked_keys_stream_ends",),
    ),
    Defence(
        "an answer is told again to who may make the call",
        "app/api/idempotency.py",
        "    caller.require(scope)  # to be told an answer again takes the same right\n",
        "",
        ("tests/test_idempotency.py::test_an_answer_is_told_again_only_to_who_may_do_it",),
    ),
)

TENANTS = (
    Defence(
        "an interview is read by its organization",
        "app/interviews/read.py",
        "select(Interview).where(Interview.id == interview_id, Interview.organization_id == organization_id)",
        "select(Interview).where(Interview.id == interview_id)",
        tuple(f"{FOREIGN}[{each}]" for each in ("getInterview", "getContext", "getTimeline")),
    ),
    Defence(
        "an interview is changed by its organization, and locked by nobody else",
        "app/interviews/settle.py",
        "query = query.where(Interview.organization_id == organization_id)",
        "pass",
        (
            *(f"{FOREIGN}[{each}]" for each in ("cancelInterview", "editInterview", "inviteCandidate")),
            f"{CALLS}::test_another_organizations_row_is_not_waited_for[cancelInterview]",
        ),
    ),
    Defence(
        "interviews are listed to their organization",
        "app/interviews/find.py",
        "select(Interview).where(Interview.organization_id == organization_id, *conditions(filters, now=now))",
        "select(Interview).where(*conditions(filters, now=now))",
        (f"{READ}[listInterviews]", "tests/attacks/test_tampered_cursors.py::test_a_cursor_is_no_key[listInterviews]"),
    ),
    Defence(
        "interviews are counted for their organization",
        "app/interviews/summary.py",
        "return [Interview.organization_id == self.organization_id, *conditions(self.filters, now=self.now)]",
        "return [*conditions(self.filters, now=self.now)]",
        (f"{READ}[summarizeInterviews]",),
    ),
    Defence(
        "changes are told to their organization",
        "app/interviews/feed.py",
        "select(Change).where(Change.organization_id == organization_id, Change.xid < OPEN_FROM)",
        "select(Change).where(Change.xid < OPEN_FROM)",
        ("tests/test_stream.py::test_another_organizations_changes_are_never_told",),
    ),
    Defence(
        "a webhook endpoint is its organization's",
        "app/outgoing/endpoints.py",
        "        WebhookEndpoint.id == endpoint_id,\n        WebhookEndpoint.organization_id == organization_id,\n",
        "        WebhookEndpoint.id == endpoint_id,\n",
        tuple(f"{FOREIGN}[{each}]" for each in ("getWebhookEndpoint", "rotateWebhookSecret", "listDeliveries")),
    ),
    Defence(
        "webhook endpoints are listed to their organization",
        "app/outgoing/endpoints.py",
        "    query = select(WebhookEndpoint).where(\n"
        "        WebhookEndpoint.organization_id == organization_id, WebhookEndpoint.deleted_at.is_(None)\n    )",
        "    query = select(WebhookEndpoint).where(WebhookEndpoint.deleted_at.is_(None))",
        (f"{READ}[listWebhookEndpoints]",),
    ),
    Defence(
        "a delivery is its endpoint's",
        "app/outgoing/deliveries.py",
        "select(Delivery).where(Delivery.id == delivery_id, Delivery.endpoint_id == endpoint.id)",
        "select(Delivery).where(Delivery.id == delivery_id)",
        (f"{FOREIGN}[replayDelivery]",),
    ),
    Defence(
        "an Idempotency-Key is its organization's",
        "app/idempotency.py",
        "            IdempotencyKey.organization_id == call.organization_id,\n",
        "",
        ("tests/test_idempotency.py::test_keys_are_an_organizations_own",),
    ),
    Defence(
        "a cursor is its list's",
        "app/interviews/find.py",
        "if marked != mark:",
        "if not marked:",
        ("tests/test_find.py::test_a_cursor_belongs_to_its_sort_and_filters",),
    ),
)

WORDS = (
    Defence(
        "no NUL comes to the database",
        "app/api/fields.py",
        'if "\\0" in value:',
        "if value is None:",
        (f"{TEXTS}[scheduleInterview]", f"{TEXTS}[editInterview]"),
    ),
    Defence(
        "nor half a character",
        "app/api/fields.py",
        'if any("\\ud800" <= letter <= "\\udfff" for letter in value):',
        "if value is None:",
        (f"{TEXTS}[scheduleInterview]", f"{TEXTS}[createWebhookEndpoint]"),
    ),
    Defence(
        "the wildcards of a search are letters",
        "app/interviews/find.py",
        "Interview.search_text.contains(word, autoescape=True)",
        "Interview.search_text.contains(word)",
        ("tests/test_search.py::test_nothing_is_a_wildcard_and_every_word_counts",),
    ),
    Defence(
        "a request's id is plain",
        "app/api/request_log.py",
        "return given.decode() if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex[:16]",
        'return given.decode("latin-1") or uuid.uuid4().hex[:16]',
        ("tests/test_problems.py::test_an_odd_request_id_is_replaced",),
    ),
    Defence(
        "nobody writes lines into the log",
        "app/api/request_log.py",
        "return path if path.isprintable() else repr(path)",
        "return path",
        ("tests/test_problems.py::test_the_access_log",),
    ),
    Defence(
        "an error echoes no value",
        "app/api/problems.py",
        '"message": fault["msg"].removeprefix("Value error, ")}',
        "\"message\": f\"{fault['msg']}: {fault.get('input')}\"}",
        (
            "tests/test_secure_headers.py::test_no_refusal_echoes_a_secret",
            "tests/test_join.py::test_junk_is_refused_by_field_and_not_echoed",
        ),
    ),
    Defence(
        "only the frontends' origins may call",
        "app/main.py",
        "allow_origins=settings.allowed_origins,",
        'allow_origins=["*"],',
        (
            "tests/test_problems.py::test_elsewhere_the_configured_origins_may",
            "tests/test_problems.py::test_on_a_laptop_no_other_origin_may",
        ),
    ),
    Defence(
        "every answer tells browsers to run, frame and keep nothing",
        "app/api/secure_headers.py",
        "more = [header for header in self.headers if header[0] not in said]",
        "more: list[tuple[bytes, bytes]] = []",
        ("tests/test_secure_headers.py::test_every_answer_is_secure",),
    ),
)

TARGETED = (
    Defence(
        "nothing is sent to a private address",
        "app/outgoing/targets.py",
        "refused = [] if allow_private else [why for each in addresses if (why := refusal(each))]",
        "refused: list[str] = []",
        (
            f"{TARGETS}::test_every_spelling_of_the_own_host_is_refused",
            "tests/outgoing/test_endpoints_api.py::test_outside_a_laptop_private_targets_are_refused",
        ),
    ),
    Defence(
        "nor when the name has turned private since",
        "app/outgoing/sender.py",
        "public_addresses(host, port, allow_private=self._allow_private, resolve=self._resolve)",
        "public_addresses(host, port, allow_private=True, resolve=self._resolve)",
        (f"{TARGETS}::test_a_name_that_turns_private_after_the_check_is_not_connected_to",),
    ),
    Defence(
        "one private address among public ones is enough",
        "app/outgoing/targets.py",
        "    if refused:\n        raise WebhookTargetRefused(",
        "    if len(refused) == len(addresses):\n        raise WebhookTargetRefused(",
        (f"{TARGETS}::test_one_private_address_among_public_ones_is_enough",),
    ),
    Defence(
        "relays that lead anywhere are refused",
        "app/outgoing/targets.py",
        "any(ip in each for each in NEVER)",
        "False",
        (f"{TARGETS}::test_refused_addresses",),
    ),
    Defence(
        "an IPv6 address that stands for an IPv4 one is judged by that",
        "app/outgoing/targets.py",
        "    return ip.ipv4_mapped\n",
        "    return IPv4Address(134744072) if ip.ipv4_mapped else None\n",
        (f"{TARGETS}::test_refused_addresses[::ffff:127.0.0.1]",),
    ),
    Defence(
        "webhooks go by https",
        "app/outgoing/targets.py",
        'if target.scheme != "https" and not allow_private:',
        "if target.scheme is None:",
        (f"{LOOKS}[http://a.example/]",),
    ),
    Defence(
        "no user and password in their URL",
        "app/outgoing/targets.py",
        "if target.username is not None or target.password is not None:",
        "if target.netloc is None:",
        (f"{LOOKS}[https://user@a.example/]",),
    ),
    Defence(
        "no low port but 443",
        "app/outgoing/targets.py",
        "if not (allow_private or port == 443 or port >= 1024):",
        "if port < 0:",
        (f"{LOOKS}[https://a.example:22/]",),
    ),
    Defence(
        "what is sent is signed with the endpoint's secret",
        "app/outgoing/signing.py",
        "hmac.digest(base64.b64decode(key.removeprefix(PREFIX)), signed, hashlib.sha256) for key in keys",
        'hmac.digest(b"", signed, hashlib.sha256) for key in keys',
        ("tests/outgoing/test_deliveries.py::test_a_conversation_arrives_signed",),
    ),
    Defence(
        "no redirect is followed",
        "app/outgoing/sender.py",
        "            return response.status, _retry_after(response)\n",
        '            places = [value.decode() for name, value in response.headers if name.lower() == b"location"]\n'
        "            if 300 <= response.status < 400 and places:\n"
        "                return await self._post(places[0], headers, body, limit)\n"
        "            return response.status, _retry_after(response)\n",
        ("tests/outgoing/test_sender.py::test_no_redirect_is_followed[302]",),
    ),
)

SEAT = (
    Defence(
        "a token is for one room",
        "app/livekit.py",
        '            "room": room,\n            "canPublish"',
        '            "canPublish"',
        (f"{RIGHTS}::test_no_other_room_is_entered",),
    ),
    Defence(
        "a token has no admin's grants",
        "app/livekit.py",
        '            "roomJoin": True,\n',
        '            "roomJoin": True,\n            "roomAdmin": True,\n            "roomList": True,\n',
        (f"{RIGHTS}::test_every_call_to_the_server_is_refused",),
    ),
    Defence(
        "a token is for microphone and camera",
        "app/livekit.py",
        '            "canPublishSources": ["microphone", "camera"],\n',
        "",
        (f"{RIGHTS}::test_no_screen_is_shared[screen]", f"{RIGHTS}::test_no_screen_is_shared[screen_audio]"),
    ),
    Defence(
        "a candidate changes nothing that the agent reads",
        "app/livekit.py",
        '"canUpdateOwnMetadata": self.client_metadata_updates,',
        '"canUpdateOwnMetadata": True,',
        (f"{RIGHTS}::test_neither_metadata_nor_name_nor_attributes_are_its_own",),
    ),
    Defence(
        "a candidate is seen",
        "app/livekit.py",
        '            "canSubscribe": True,\n',
        '            "canSubscribe": True,\n            "hidden": True,\n',
        (f"{RIGHTS}::test_nobody_hides",),
    ),
    Defence(
        "a token lives for ten minutes",
        "app/livekit.py",
        "TOKEN_LIFE = timedelta(minutes=10)",
        "TOKEN_LIFE = timedelta(hours=6)",
        ("tests/test_livekit.py::test_a_token_lives_for_ten_minutes_from_its_second",),
    ),
    Defence(
        "a client wishes for no other token",
        "app/interviews/wishes.py",
        "    if refused:\n        raise TokenFieldNotAllowed(",
        "    if refused is None:\n        raise TokenFieldNotAllowed(",
        ("tests/test_token.py::test_what_a_client_may_not_say",),
    ),
)

START = (
    Defence(
        "outside a laptop it does not start with what everybody knows",
        "app/config.py",
        "*([] if self.is_local else self._unsafe_outside_a_laptop()),",
        "",
        (
            "tests/test_config.py::test_outside_a_laptop_all_that_is_unsafe_is_told_at_once",
            "tests/test_config.py::test_each_rule_stands_alone",
        ),
    ),
    Defence(
        "open has to be said",
        "app/config.py",
        "if self.join_policy is None:",
        'if self.environment == "never":',
        ("tests/test_config.py::test_each_rule_stands_alone[JOIN_POLICY]",),
    ),
    Defence(
        "an invitation's secret is in no logged address",
        "app/config.py",
        "            *self._leaking_links(),\n",
        "",
        ("tests/test_config.py::test_a_link_whose_secret_would_be_logged_is_refused",),
    ),
)

DEFENCES = (*WEBHOOKS, *SOCKETS, *DOORS, *KEYS, *TENANTS, *WORDS, *TARGETED, *SEAT, *START)
