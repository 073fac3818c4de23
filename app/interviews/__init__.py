"""The use-cases of an interview: plain functions, the session first, the rest by keyword, `now` passed in."""
