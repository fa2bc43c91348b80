"""The pure core: bytes, numbers and `now` in; bytes, numbers and events out.

Nothing here opens a socket, reads a clock, draws a random number, logs, or waits. The same code
runs under trio, in the simulator and inside other programs. Start at `endpoint`.
"""
