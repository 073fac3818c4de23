"""The work that no request does: due interviews, wishes towards LiveKit, reconciling, the nightly audit.

The row is the job. Processes need no coordination: each takes what is due with SKIP LOCKED, and holds it on lease.
"""
