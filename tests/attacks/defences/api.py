"""API keys, organizations and cursors."""

from tests.attacks.defences.defence import Defence

CALLS = "tests/attacks/test_every_call.py"
FOREIGN = f"{CALLS}::test_another_organizations_id_is_answered_like_an_unknown_one"
READ = f"{CALLS}::test_reads_return_only_the_own_organizations_data"

KEYS = (
    Defence(
        "unknown query parameters are refused",
        "app/api/routes.py",
        "dependants.append(self._depend_on(self.check_parameters))",
        "dependants.append(self.dependant)",
        ("tests/attacks/test_unknown_input.py::test_an_unknown_parameter_is_refused[listDeliveries]",),
    ),
    Defence(
        "a call without a body refuses one",
        "app/api/routes.py",
        'if self.methods != {"GET"} and not readers:',
        "if self.methods == set():",
        (
            "tests/attacks/test_unknown_input.py::test_a_call_without_a_body_takes_an_empty_one_only[rotateWebhookSecret]",
        ),
    ),
    Defence(
        "a key is accepted in the Authorization header only",
        "app/api/dependencies.py",
        "    if credentials is None:\n        raise Unauthorized\n",
        '    given = request.query_params.get("key", "")\n'
        '    credentials = credentials or HTTPAuthorizationCredentials(scheme="Bearer", credentials=given)\n',
        (f"{CALLS}::test_a_key_is_accepted_in_the_authorization_header_only[getInterview]",),
    ),
    Defence(
        "a revoked key is refused",
        "app/auth/api_keys.py",
        " AND revoked_at IS NULL",
        "",
        (
            f"{CALLS}::test_each_call_refuses_a_revoked_key[listInterviews]",
            "tests/stream/test_stream.py::test_a_revoked_keys_stream_ends",
        ),
    ),
    Defence(
        "an expired key is refused",
        "app/auth/api_keys.py",
        " AND (expires_at IS NULL OR expires_at > now())",
        "",
        (
            "tests/auth/test_key_lifetimes.py::test_an_expired_key_is_refused_as_one_that_never_was",
            "tests/auth/test_key_lifetimes.py::test_a_key_ends_at_once_on_all_replicas",
        ),
    ),
    Defence(
        "no key is cached",
        "app/auth/api_keys.py",
        "    row = await connection.fetchrow(_VALID, hash_key(key))\n",
        "    kept = authenticate.__dict__\n"
        "    if key not in kept:\n"
        "        kept[key] = await connection.fetchrow(_VALID, hash_key(key))\n"
        "    row = kept[key]\n",
        (
            "tests/auth/test_key_lifetimes.py::test_a_key_ends_at_once_on_all_replicas",
            "tests/auth/test_api_keys.py::test_a_revoked_key_is_refused_at_once",
        ),
    ),
    Defence(
        "a call requires its scope",
        "app/auth/api_keys.py",
        "if self.scopes.isdisjoint(scopes):",
        "if not self.scopes:",
        tuple(
            f"{CALLS}::test_a_call_requires_one_scope[{each}]"
            for each in ("cancelInterview", "getContext", "listWebhookEndpoints", "changeOrganization")
        ),
    ),
    Defence(
        "a key is stored as a hash only",
        "app/auth/api_keys.py",
        "return hashlib.sha256(key.encode()).digest()",
        "return key.encode()",
        ("tests/auth/test_api_keys.py::test_only_a_hash_is_stored",),
    ),
    Defence(
        "a stream ends with its key",
        "app/stream/hub.py",
        "(await authenticate(connection, key=key)).require(Scope.READ)",
        "pass",
        ("tests/stream/test_stream.py::test_a_revoked_keys_stream_ends",),
    ),
    Defence(
        "a stored response is replayed only to callers with the scope of the call",
        "app/api/idempotency.py",
        "    caller.require(scope)  # a stored response requires the same scope\n",
        "",
        ("tests/api/test_idempotency.py::test_a_stored_response_requires_the_scope_of_the_call",),
    ),
)

TENANTS = (
    Defence(
        "an interview is read by its organization only",
        "app/interviews/queries.py",
        "select(Interview).where(Interview.id == interview_id, Interview.organization_id == organization_id)",
        "select(Interview).where(Interview.id == interview_id)",
        tuple(f"{FOREIGN}[{each}]" for each in ("getInterview", "getContext", "getTimeline", "getPersonalData")),
    ),
    Defence(
        "a candidate's data is read by its organization only",
        "app/interviews/personal_data.py",
        "Interview.organization_id == organization_id, Interview.candidate_id == candidate_id",
        "Interview.candidate_id == candidate_id",
        ("tests/interviews/test_personal_data.py::test_only_an_admin_of_the_organization_reads_it",),
    ),
    Defence(
        "lines are appended by the interview's organization only",
        "app/interviews/transcript_append.py",
        "WHERE live.organization_id = item.organization_id\n",
        "WHERE true\n",
        (f"{FOREIGN}[appendTranscript]",),
    ),
    Defence(
        "an interview is changed and locked by its organization only",
        "app/interviews/interview_rows.py",
        "AND ($2::uuid IS NULL OR organization_id = $2) FOR NO KEY UPDATE",
        "AND ($2::uuid IS NULL OR true) FOR NO KEY UPDATE",
        (
            *(f"{FOREIGN}[{each}]" for each in ("cancelInterview", "editInterview", "inviteCandidate")),
            f"{FOREIGN}[erasePersonalData]",
            f"{CALLS}::test_a_call_does_not_wait_for_another_organizations_row[cancelInterview]",
            f"{CALLS}::test_a_call_does_not_wait_for_another_organizations_row[erasePersonalData]",
        ),
    ),
    Defence(
        "interviews are listed for their organization only",
        "app/interviews/search.py",
        "query = select(*columns).where(Interview.organization_id == self.organization_id, *_estimable(self.filters))",
        "query = select(*columns).where(*_estimable(self.filters))",
        (
            f"{READ}[listInterviews]",
            "tests/attacks/test_tampered_cursors.py::test_a_tampered_cursor_shows_no_foreign_rows[listInterviews]",
        ),
    ),
    Defence(
        "interviews are counted for their organization only",
        "app/interviews/counts.py",
        "clauses = [of.organization_id == query.organization_id]",
        "clauses = [of.organization_id.is_not(None)]",
        (f"{READ}[summarizeInterviews]",),
    ),
    Defence(
        "changes are streamed to their organization only",
        "app/stream/feed.py",
        "select(Change).where(Change.organization_id == organization_id, Change.xid < OLDEST_OPEN_XID)",
        "select(Change).where(Change.xid < OLDEST_OPEN_XID)",
        ("tests/stream/test_stream.py::test_another_organizations_changes_are_not_streamed",),
    ),
    Defence(
        "a webhook endpoint belongs to its organization",
        "app/webhooks/endpoints.py",
        "        WebhookEndpoint.id == endpoint_id,\n        WebhookEndpoint.organization_id == organization_id,\n",
        "        WebhookEndpoint.id == endpoint_id,\n",
        tuple(f"{FOREIGN}[{each}]" for each in ("getWebhookEndpoint", "rotateWebhookSecret", "listDeliveries")),
    ),
    Defence(
        "webhook endpoints are listed for their organization only",
        "app/webhooks/endpoints.py",
        "    query = select(WebhookEndpoint).where(\n"
        "        WebhookEndpoint.organization_id == organization_id, WebhookEndpoint.deleted_at.is_(None)\n    )",
        "    query = select(WebhookEndpoint).where(WebhookEndpoint.deleted_at.is_(None))",
        (f"{READ}[listWebhookEndpoints]",),
    ),
    Defence(
        "a delivery belongs to its endpoint",
        "app/webhooks/deliveries.py",
        "select(Delivery).where(Delivery.id == delivery_id, Delivery.endpoint_id == endpoint.id)",
        "select(Delivery).where(Delivery.id == delivery_id)",
        (f"{FOREIGN}[replayDelivery]",),
    ),
    Defence(
        "an Idempotency-Key belongs to its organization",
        "app/auth/idempotency_keys.py",
        "            IdempotencyKey.organization_id == call.organization_id,\n",
        "",
        ("tests/api/test_idempotency.py::test_keys_are_an_organizations_own",),
    ),
    Defence(
        "a cursor belongs to its sort and filters",
        "app/interviews/search.py",
        "if cursor_fingerprint != fingerprint:",
        "if not cursor_fingerprint:",
        ("tests/interviews/test_filters.py::test_a_cursor_belongs_to_its_sort_and_filters",),
    ),
)
