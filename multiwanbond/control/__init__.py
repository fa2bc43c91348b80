"""Commands to a running daemon and its replies, over a Unix socket."""
