"""One turn from its beginning to its end: what it is, who carries it, where it is written down."""
