"""How columns are checked."""

import enum


def one_of(column: str, names: type[enum.Enum]) -> str:
    """A check, not a Postgres enum: a new name is then an ordinary migration."""
    values = ", ".join(f"'{name.value}'" for name in names)
    return f"{column} IN ({values})"
