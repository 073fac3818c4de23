"""What every package stands on: settings, errors, the database, logging, limits. It knows nothing of interviews."""
