"""A schema as text, from the catalogue: the same on every version of PostgreSQL, for people to review."""

from __future__ import annotations

from dataclasses import dataclass

from src.db.connection import Session

# Not-null constraints are left out (PostgreSQL 18 lists them apart; columns tell them), and so are the
# bodies of views and functions, which each version prints its own way.
_DUMP = r"""
WITH relation AS (
    SELECT oid, relname, CASE relkind WHEN 'v' THEN 'view' ELSE 'table' END AS kind
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
),
line (name, part, place, text) AS (
    SELECT relname, 0, 0, kind || ' ' || relname FROM relation
    UNION ALL
    SELECT
        relname, 1, attnum,
        concat_ws(
            ' ', '   ', attname, format_type(atttypid, atttypmod),
            CASE WHEN attnotnull THEN 'not null' END,
            CASE WHEN attidentity <> '' THEN 'identity' END,
            'default ' || pg_get_expr(d.adbin, d.adrelid)
        )
    FROM relation
    JOIN pg_attribute AS a ON a.attrelid = relation.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    SELECT relname, 2, 0, concat_ws(' ', '   ', 'constraint', conname, pg_get_constraintdef(c.oid))
    FROM relation
    JOIN pg_constraint AS c ON c.conrelid = relation.oid AND c.contype <> 'n'
    UNION ALL
    SELECT relname, 3, 0, '    ' || replace(pg_get_indexdef(i.indexrelid), 'public.', '')
    FROM relation
    JOIN pg_index AS i ON i.indrelid = relation.oid
    WHERE NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u'))
    UNION ALL
    SELECT
        '~' || proname, 0, 0,
        'function ' || p.oid::regprocedure || ' returns ' || pg_get_function_result(p.oid)
    FROM pg_proc AS p
    WHERE p.pronamespace = 'public'::regnamespace
)
SELECT text FROM line ORDER BY name COLLATE "C", part, place, text COLLATE "C"
"""


@dataclass(frozen=True, slots=True)
class _Line:
    text: str


def dump(session: Session) -> str:
    """Tables and views with columns, constraints and indexes, and functions by their signature."""
    with session.transaction():
        return "".join(f"{line.text}\n" for line in session.all(_Line, _DUMP))
