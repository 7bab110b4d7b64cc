"""The client of a Flint server.

- limiter: `flint.SharedLimiter`
- core: what its synchronous and asynchronous calls have in common
- address: what a URL means
- exchange: one call from its request to its result, without I/O: retries, errors, framing
- drive: the I/O that an exchange asks for, by a thread or by a coroutine
- pool: connections that wait for the next call
- connection: one of them
- tls: encryption without I/O
- problem: what the server says is wrong, as an exception
"""
