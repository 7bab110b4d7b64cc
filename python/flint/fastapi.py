"""Rate limits for FastAPI and Starlette.

app.add_middleware(FlintRateLimitMiddleware, limiter=limiter, key_func=flint.keys.client_ip(), rate="100/minute")


@app.get("/report", dependencies=[Depends(RateLimit("10/minute"))])
def report(): ...
"""

try:
    from flint._fastapi.dependency import RateLimit, per_route
    from flint._fastapi.middleware import FlintRateLimitMiddleware, RateLimitHeaders
except ImportError as error:
    raise ImportError(f'flint.fastapi needs FastAPI: pip install "flint-limiter[fastapi]" ({error})') from error

__all__ = ["FlintRateLimitMiddleware", "RateLimit", "RateLimitHeaders", "per_route"]

for _public in (FlintRateLimitMiddleware, RateLimit, RateLimitHeaders, per_route):
    _public.__module__ = __name__
