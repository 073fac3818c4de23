"""What all tables share: how columns are typed, constraints named, and values checked."""

import enum
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import ARRAY, BigInteger, DateTime, Enum, MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase


def _values(names: type[enum.Enum]) -> list[str]:
    return [str(name.value) for name in names]


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can name them too; instants are timestamptz, durations interval."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
        enum.Enum: Enum(enum.Enum, native_enum=False, create_constraint=False, length=None, values_callable=_values),
    }

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def one_of(column: str, names: Iterable[enum.Enum]) -> str:
    """A check, not a Postgres enum: a new name is then an ordinary migration."""
    values = ", ".join(f"'{name.value}'" for name in names)
    return f"{column} IN ({values})"
