-- wrk: checks of one key, whose limit the benchmark has set.
wrk.method = "POST"
wrk.body = '{"key":"api:user-42"}'
wrk.headers["Content-Type"] = "application/json"
