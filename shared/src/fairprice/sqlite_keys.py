"""The SQL that steps from symbol to symbol through a table of a SQLite file. Pure."""


def following_key(table: str, *, backwards: bool = False) -> str:
    """Return the query of the venue and symbol that come next after those given, or before them.

    `table` is a name as SQL takes it. Two looks at the key, however many rows a symbol has:
    `(venue, symbol) > (?, ?)` would pass all of them.
    """
    beyond, direction = ("<", "DESC") if backwards else (">", "ASC")
    order = f"ORDER BY venue {direction}, symbol {direction} LIMIT 1"
    same_venue = f"SELECT * FROM (SELECT venue, symbol FROM {table} WHERE venue = ?1 AND symbol {beyond} ?2 {order})"  # noqa: S608  a quoted name
    other_venue = f"SELECT * FROM (SELECT venue, symbol FROM {table} WHERE venue {beyond} ?1 {order})"  # noqa: S608  a quoted name
    return f"{same_venue} UNION ALL {other_venue} {order}"
