"""Commands to a running daemon and its replies, as lines of JSON on a Unix socket.

`protocol` and `status` say what travels, `client` is plain blocking sockets (so that `mwb status`
loads no trio), `server` runs inside the daemon. Who may open the socket may command the daemon:
its file mode is the authorisation.
"""
