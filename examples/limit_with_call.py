"""A limit that comes with the call and is stored with the key: no key has to be set up in advance."""

import tempfile

import flint

LOGIN = flint.Limit("2/minute")

with tempfile.TemporaryDirectory() as data_dir, flint.Limiter(data_dir) as limiter:
    for address in ("192.0.2.1", "192.0.2.7", "192.0.2.1", "192.0.2.1"):
        allowed = limiter.allow(f"login:{address}", limit=LOGIN)
        print(address, "may try" if allowed else "has to wait")
    print([status.key for status in limiter.list(prefix="login:")])

# Output:
#   192.0.2.1 may try
#   192.0.2.7 may try
#   192.0.2.1 may try
#   192.0.2.1 has to wait
#   ['login:192.0.2.1', 'login:192.0.2.7']
