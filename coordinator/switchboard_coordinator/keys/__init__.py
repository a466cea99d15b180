"""Who may ask: consumers, their keys and scopes, and the log of what was refused or changed."""
