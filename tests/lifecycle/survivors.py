"""Changes of comparisons in app/lifecycle that no test can notice, and why. See comparisons.py."""

_ONLY_FOR_THE_TYPES = "never None there: it is asked only so that the types are right"
_ENDED_ABOVE = "any other outcome, and none, has ended the attempt at this instant by a rule above"

SURVIVORS = {
    "derive._completions: session.departure and left.role is Role.AGENT and (left.outcome is Outcome.COMPLETED) and "
    "left.can_amend -> left.role is Role.AGENT and left.outcome is Outcome.COMPLETED and left.can_amend": (
        "an outcome is stored with its leave, so there is a departure; " + _ONLY_FOR_THE_TYPES
    ),
    "end_rules._is_loss: reason == CLIENT_INITIATED and outcome is Outcome.PENDING -> reason == CLIENT_INITIATED": (
        _ENDED_ABOVE
    ),
    "end_rules._is_inferred: change.session.departure is not None and change.session.departure.is_inferred -> "
    "change.session.departure.is_inferred": "only asked of leaves; " + _ONLY_FOR_THE_TYPES,
    "end_rules.candidate_gone: absence.left and absence.outlasts((deadline := (absence.left.at + "
    "attempt.timeouts.candidate_grace))) -> absence.outlasts((deadline := (absence.left.at + "
    "attempt.timeouts.candidate_grace)))": "the start has a candidate, so each absence after it begins with a leave; "
    + _ONLY_FOR_THE_TYPES,
    "presence.presence_changes: not is_join and (not session.is_candidate) -> not session.is_candidate": (
        "no agent leaves before it joined, so once all have left no join is newer than the newest leave"
    ),
    "presence._reported: connection.leave_reason or UNKNOWN -> connection.leave_reason": (
        "a reason is stored with its leave, and no rule asks for UNKNOWN in a reported one; " + _ONLY_FOR_THE_TYPES
    ),
    "presence._reported: connection.left_order or 0 -> connection.left_order": (
        "the order is stored with its leave; " + _ONLY_FOR_THE_TYPES
    ),
    "presence._closed_rooms: departure and (earlier is None or departure.at < earlier.at) -> "
    "earlier is None or departure.at < earlier.at": "a reason is stored with its leave; " + _ONLY_FOR_THE_TYPES,
    "presence._closed_rooms: departure.at < earlier.at -> departure.at <= earlier.at": (
        "of two agents under which the room was closed at one instant one is still there when the candidate leaves"
    ),
}
