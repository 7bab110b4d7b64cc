"""What every web integration needs; nothing here knows a framework, ASGI or WSGI.

From the bottom up:

- headers: what an HTTP answer says about limits
- refusal: the answers to denied requests, and the error policy
- rule: the key, the cost and the limit of a request
- forwarded: X-Forwarded-For and Forwarded, read from the nearest proxy on
- client_address: the address of a request's client as a key
- decision: one call to a limiter as an answer: let the request through, or refuse it
"""
