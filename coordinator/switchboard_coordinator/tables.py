"""What the coordinator keeps: the tables of its database, for SQLAlchemy Core. Times are seconds since 1970. Pure.

A change here needs a migration in `migrations/versions`; a test holds the two together.
"""

from sqlalchemy import JSON, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

turns = Table(
    "turns",
    metadata,
    Column("id", Text, primary_key=True),
    Column("consumer", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("target", Text, nullable=False),  # the model id that was asked for
    Column("policy", Text, nullable=False),
    Column("transport", Text, nullable=False),
    Column("session", Text),
    Column("key", Text),  # the Idempotency-Key
    Column("digest", LargeBinary),  # of the body that came with the key
    Column("question", LargeBinary),  # the messages as JSON; null where the journal is off
    Column("restarts", Integer, nullable=False, default=0),  # of a coordinator while the turn was open
    Column("created_at", Float, nullable=False),
    Column("ended_at", Float),
    sqlite_with_rowid=False,
)
Index("turns_of_consumer", turns.c.consumer, turns.c.id)
Index("turns_by_key", turns.c.consumer, turns.c.key, unique=True, sqlite_where=turns.c.key.is_not(None))
Index("turns_open", turns.c.state, sqlite_where=turns.c.ended_at.is_(None))
Index("turns_of_session", turns.c.consumer, turns.c.session, sqlite_where=turns.c.session.is_not(None))
Index("turns_ended", turns.c.ended_at)

entries = Table(
    "entries",
    metadata,
    Column("turn", Text, primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("last", Integer, nullable=False),
    Column("events", LargeBinary, nullable=False),  # a JSON array: the events `first` to `last`, committed together
    sqlite_with_rowid=False,
)

sessions = Table(
    "sessions",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("session", Text, primary_key=True),
    Column("home", Text, nullable=False),  # the address that holds its history
    Column("seen", JSON, nullable=False),  # address → id of the turn up to which its agent holds everything
    Column("used_at", Float, nullable=False),
    sqlite_with_rowid=False,
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("consumer", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),  # SHA-256 of the key, in hex
    Column("scopes", JSON, nullable=False),
    Column("turns_per_minute", Integer),
    Column("moves", Text, nullable=False, default="ask"),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)

drains = Table(
    "drains",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("since", Float, nullable=False),
    Column("by", Text, nullable=False),  # the consumer who asked for it
    sqlite_with_rowid=False,
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("actor", Text, nullable=False),  # a consumer, `uid:1000` at a command line, `file:consumers`, or ""
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("outcome", Text, nullable=False),  # `done`, or the code of the refusal
    Column("request_id", Text),  # of the first where there were several
    Column("count", Integer, nullable=False, default=1),  # as often within a minute
    sqlite_autoincrement=True,  # an id is never given twice, though old rows are deleted
)
Index("audit_by_time", audit.c.at)
