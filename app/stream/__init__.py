"""The stream of changes: read once for each organization that is listened to, and handed to all who listen."""
