"""The client of a Flint server.

From the API down to the socket:

- limiter: `flint.SharedLimiter`
- core: what its methods share: its settings, and how a parsed call of the native half is made
- error_policy: on_error, what checks return without a server
- exchange: one call from its request to its result, without I/O: connections, retries, errors
- response: an answer from the bytes that arrive, without I/O
- io_thread, io_asyncio: the I/O that an exchange asks for, by a thread or by a coroutine
- steps: what an exchange may ask for
- deadline: how long a call has left
- endpoint: where the server is, and the connections to it
- pool: the connections of one client
- connection: one of them
- tls: encryption without I/O
- address: what a URL means
- errors: an answer that reports an error, as an exception
"""
