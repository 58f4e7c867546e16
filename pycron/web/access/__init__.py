"""Who may use the page: its names, logins, sessions, tokens, and the guard of each request."""
