"""A limiter inside the process. The second one stands for the process after a restart: the quota is still used up."""

import tempfile

import flint

with tempfile.TemporaryDirectory() as data_dir:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("api:user-42", "3/day")
        for _ in range(4):
            print("allowed" if limiter.allow("api:user-42") else "denied")

    with flint.Limiter(data_dir) as limiter:
        result = limiter.check("api:user-42")
        print("after the restart:", "allowed" if result else f"denied for {result.retry_after:.0f} s")

# Output:
#   allowed
#   allowed
#   allowed
#   denied
#   after the restart: denied for 28800 s
