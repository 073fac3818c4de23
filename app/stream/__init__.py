"""The stream of changes: read once per organization, and sent to all of its subscribers."""
