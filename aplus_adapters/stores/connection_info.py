"""What the store notes at a connection or session, under keys of its own."""

__all__ = [
    "INFO_ENGINE",
    "INFO_HOOK",
    "INFO_OPEN",
    "INFO_OTHER",
    "INFO_OURS",
    "INFO_RESTED",
    "INFO_RESTORE",
    "INFO_SHOWN",
    "INFO_TIME_LIMIT",
]

INFO_ENGINE = "aplus_engine"  # the payments' own, of a session
INFO_HOOK = "aplus_hook"  # a hook of the shop has run in this transaction
INFO_OPEN = "aplus_open"  # a transaction was open when the pool handed the connection out
INFO_OTHER = "aplus_other"  # the other engine that a hook has used in the payment's session
INFO_OURS = "aplus_ours"  # lent for a transaction of the store
INFO_RESTED = "aplus_rested"  # nobody has used it for a while, nor checked it
INFO_RESTORE = "aplus_restore"  # settings of the connection before our transaction
INFO_TIME_LIMIT = "aplus_time_limit"  # seconds for a statement, if set for the connection
INFO_SHOWN = "aplus_shown"  # the session as the shop knows it: a Session or an AsyncSession
