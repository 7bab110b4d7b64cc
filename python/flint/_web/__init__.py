"""What every web integration needs. Nothing here knows a framework, and only `asgi` knows ASGI.

From the bottom up:

- limiter: what is accepted as a limiter
- headers: what an HTTP answer says about limits
- refusal: the answers to denied requests, and the error policy
- forwarded: the headers in which proxies report the client, read from the nearest proxy on
- client_address: the address of a request's client as a key
- rule: the key, the cost and the limit of a request
- decision: the result or error of a check as an answer: let the request through, or refuse it
- asgi: headers and refusals as ASGI messages
"""
