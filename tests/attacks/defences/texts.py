"""Texts in requests and responses, and the URLs of webhooks."""

from tests.attacks.defences.defence import Defence

TEXTS = "tests/attacks/test_injection.py::test_a_text_in_a_body_is_stored_unchanged_or_refused"
TARGETS = "tests/webhooks/test_url_guard.py"
LOOKS = f"{TARGETS}::test_refused_urls"

MESSAGES = (
    Defence(
        "NUL never reaches the database",
        "app/api/types.py",
        '"\\0" not in value, "must',
        'True, "must',
        (f"{TEXTS}[scheduleInterview]", f"{TEXTS}[editInterview]"),
    ),
    Defence(
        "surrogates never reach the database",
        "app/api/types.py",
        'not re.search("[\\ud800-\\udfff]", value)',
        "True",
        (f"{TEXTS}[scheduleInterview]", f"{TEXTS}[createWebhookEndpoint]"),
    ),
    Defence(
        "a text that people read shows something",
        "app/core/visible_text.py",
        "return not all(map(is_invisible, text))",
        "return bool(text)",
        ("tests/api/test_schedule.py::test_refused[jobTitle]", "tests/cli/test_keys.py::test_a_name_shows_something"),
    ),
    Defence(
        "wildcards in a search are escaped",
        "app/interviews/search.py",
        "texts.contains(word, autoescape=True)",
        "texts.contains(word)",
        ("tests/interviews/test_search.py::test_there_are_no_wildcards_and_every_word_must_match",),
    ),
    Defence(
        "a request id has plain characters only",
        "app/api/middleware.py",
        "return header.decode() if header and may_be_used(header) else new_request_id()",
        'return header.decode("latin-1") if header else new_request_id()',
        ("tests/api/test_problems.py::test_an_odd_request_id_is_replaced",),
    ),
    Defence(
        "a request id is not a secret or a phone number",
        "app/api/request_ids.py",
        "return GENERATED.fullmatch(request_id) is not None or NEVER_LOGGED.search(request_id) is None",
        "return True",
        ("tests/api/test_problems.py::test_a_request_id_that_must_not_be_logged_is_replaced",),
    ),
    Defence(
        "a path cannot add lines to the log",
        "app/api/middleware.py",
        'return "/".join([part if part in self._words or ID.fullmatch(part) else "..." for part in path.split("/")])',
        "return path",
        ("tests/api/test_problems.py::test_the_access_log",),
    ),
    Defence(
        "an error does not echo the value",
        "app/api/problems.py",
        '"message": message_of(fault) + hint}',
        "\"message\": f\"{fault['msg']}: {fault.get('input')}\"}",
        (
            "tests/api/test_secure_headers.py::test_no_refusal_echoes_a_secret",
            "tests/interviews/test_join.py::test_junk_is_refused_by_field_and_not_echoed",
        ),
    ),
    Defence(
        "a local start answers to loopback names only",
        "app/api/local_hosts.py",
        "return is_loopback(name) or",
        "return True or",
        ("tests/api/test_local_hosts.py::test_a_name_of_somebody_else_is_refused",),
    ),
    Defence(
        "only configured origins may call",
        "app/main.py",
        "allow_origins=settings.allowed_origins,",
        'allow_origins=["*"],',
        (
            "tests/api/test_problems.py::test_elsewhere_the_configured_origins_may",
            "tests/api/test_problems.py::test_on_a_laptop_no_other_origin_may",
        ),
    ),
    Defence(
        "every response has security headers",
        "app/api/middleware.py",
        "with_missing(headers, self._secure)",
        "with_missing(headers, ())",
        ("tests/api/test_secure_headers.py::test_every_answer_is_secure",),
    ),
)

WEBHOOK_URLS = (
    Defence(
        "nothing is sent to a private address",
        "app/webhooks/url_guard.py",
        "refused = [] if allow_private else [reason for address in addresses if (reason := refusal_reason(address))]",
        "refused: list[str] = []",
        (
            f"{TARGETS}::test_every_spelling_of_localhost_is_refused",
            "tests/webhooks/test_endpoints_api.py::test_private_targets_are_refused_unless_allowed",
        ),
    ),
    Defence(
        "the address is checked again before each connection",
        "app/webhooks/sender.py",
        "public_addresses(host, port, allow_private=self._allow_private, resolve=self._resolve)",
        "public_addresses(host, port, allow_private=True, resolve=self._resolve)",
        (f"{TARGETS}::test_a_name_that_turns_private_after_the_check_is_not_connected_to",),
    ),
    Defence(
        "one private address among public ones is refused",
        "app/webhooks/url_guard.py",
        "    if refused:\n        raise WebhookTargetRefused(",
        "    if len(refused) == len(addresses):\n        raise WebhookTargetRefused(",
        (f"{TARGETS}::test_one_private_address_among_public_ones_is_enough",),
    ),
    Defence(
        "relay networks are refused",
        "app/webhooks/url_guard.py",
        "any(ip in network for network in BLOCKED_NETWORKS)",
        "False",
        (f"{TARGETS}::test_refused_addresses",),
    ),
    Defence(
        "an IPv4-mapped address is checked as IPv4",
        "app/webhooks/url_guard.py",
        "    return ip.ipv4_mapped\n",
        "    return IPv4Address(134744072) if ip.ipv4_mapped else None\n",
        (f"{TARGETS}::test_refused_addresses[::ffff:127.0.0.1]",),
    ),
    Defence(
        "webhook URLs require https",
        "app/webhooks/url_guard.py",
        'if target.scheme != "https" and not allow_private:',
        "if target.scheme is None:",
        (f"{LOOKS}[http://a.example:8080/]",),
    ),
    Defence(
        "calls at the same time make no more endpoints than allowed",
        "app/webhooks/endpoints.py",
        "where(Organization.id == organization_id).with_for_update(key_share=True)",
        "where(Organization.id == organization_id)",
        (
            "tests/webhooks/test_endpoints_api.py::test_calls_at_the_same_time_make_no_more_endpoints_than_one_after_the_other",
        ),
    ),
    Defence(
        "webhook URLs contain no port that does not exist",
        "app/webhooks/url_guard.py",
        "if port == 0:",
        "if port == -1:",
        ("tests/webhooks/test_url_guard.py::test_no_port_but_a_real_one_is_taken_where_private_addresses_are_allowed",),
    ),
    Defence(
        "webhook URLs contain no credentials",
        "app/webhooks/url_guard.py",
        "if target.username is not None or target.password is not None:",
        "if target.netloc is None:",
        (f"{LOOKS}[https://user@a.example/]",),
    ),
    Defence(
        "webhook URLs use no privileged port except 443",
        "app/webhooks/url_guard.py",
        "if not (allow_private or port == 443 or port >= 1024):",
        "if port < 0:",
        (f"{LOOKS}[https://a.example:22/]",),
    ),
    Defence(
        "webhooks are signed with the endpoint's secret",
        "app/webhooks/payload.py",
        "hmac.digest(base64.b64decode(key.removeprefix(PREFIX)), signed, hashlib.sha256) for key in keys",
        'hmac.digest(b"", signed, hashlib.sha256) for key in keys',
        ("tests/webhooks/test_deliveries.py::test_an_interviews_changes_arrive_signed",),
    ),
    Defence(
        "redirects are not followed",
        "app/webhooks/sender.py",
        "            return response.status, _retry_after(response)\n",
        '            places = [value.decode() for name, value in response.headers if name.lower() == b"location"]\n'
        "            if 300 <= response.status < 400 and places:\n"
        "                return await self._post(places[0], headers, body, limit)\n"
        "            return response.status, _retry_after(response)\n",
        ("tests/webhooks/test_sender.py::test_no_redirect_is_followed[302]",),
    ),
)
