"""A limited function whose key is made from the arguments. A call beyond the limit raises and does not run."""

import tempfile

import flint

with tempfile.TemporaryDirectory() as data_dir, flint.Limiter(data_dir) as limiter:

    @limiter.rate_limit(lambda to, **_: f"email:{to}", "2/hour")
    def send_email(to: str, *, subject: str) -> None:
        print(f"to {to}: {subject}")

    send_email("ada@example.org", subject="first")
    send_email("ada@example.org", subject="second")
    send_email("bob@example.org", subject="first")
    try:
        send_email("ada@example.org", subject="third")
    except flint.RateLimitExceeded as error:
        print(f"{error.key} again in {error.retry_after / 60:.0f} minutes")

# Output:
#   to ada@example.org: first
#   to ada@example.org: second
#   to bob@example.org: first
#   email:ada@example.org again in 30 minutes
