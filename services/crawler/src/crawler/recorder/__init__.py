"""`crawler record` and `crawler verify`: writes what the exchange sends, and proves what was written.

A line is `<receive time, ns since epoch> <JSON>`, as of hftbacktest's collector. The JSON is a frame of the streams, as
sent but for a last field `"connection"`, the number of the connection that brought it first; or the body of a depth
snapshot, wrapped like a frame of a stream `<symbol>@snapshot` where several symbols are recorded, since the body names
none. What is neither is a note, a frame of a stream whose name begins with `!`:

    !connection    a connection was opened, or has ended and why
    !loss          updates of these symbols may be missing from here on
    !unreadable    a frame that cannot be read, as text
    !exchangeInfo  the list of symbols, at the begin of each file and after each change
    !other         any other frame as sent: what another connection had brought, answers to subscriptions

So whoever passes over the notes reads each event once.
"""
