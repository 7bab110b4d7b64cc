"""The parts of flint.fastapi: middleware and dependencies for FastAPI and Starlette.

From the bottom up:

- limiter: where a middleware or dependency finds its limiter
- route: the route of a request and the tree of its dependencies
- check: the limits of one route, checked in one call
- dependency: RateLimit and per_route
- middleware: FlintRateLimitMiddleware and RateLimitHeaders
"""
